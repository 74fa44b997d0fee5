use nexus_compile::{ConditionType, ObjectKind, Reason};

use super::*;

fn judged() -> ObjectConditions {
    let condition = |kind, reason| nexus_compile::Condition {
        kind,
        status: Status::True,
        reason,
        message: "well".to_owned(),
        observed_generation: Some(7),
    };
    ObjectConditions {
        kind: ObjectKind::Tenant,
        namespace: "acme".to_owned(),
        name: "acme".to_owned(),
        conditions: vec![
            condition(ConditionType::Accepted, Reason::Accepted),
            condition(ConditionType::ResolvedRefs, Reason::ResolvedRefs),
        ],
    }
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn told(status: &TenantStatus, kind: &str) -> (String, String, i64) {
    let condition = status.conditions.iter().find(|condition| condition.type_ == kind).unwrap();
    (condition.status.clone(), condition.reason.clone(), condition.last_transition_time.0.as_second())
}

#[test]
fn a_time_changes_with_its_value_only_and_a_second_look_writes_nothing() {
    let lacking = Programmed::Lacking { held: 1, pods: 3, missing: vec!["a".to_owned()] };
    let first = tenant(&judged(), &lacking, None, at(1));
    assert_eq!(told(&first, "Ready"), ("False".to_owned(), "Pending".to_owned(), 1));
    assert_eq!(first.acknowledged.as_deref(), Some("1/3"));
    assert_eq!(tenant(&judged(), &lacking, Some(&first), at(2)), first);
    let more = Programmed::Lacking { held: 2, pods: 3, missing: vec!["a".to_owned()] };
    let second = tenant(&judged(), &more, Some(&first), at(3));
    assert_eq!(told(&second, "Programmed"), ("False".to_owned(), "Pending".to_owned(), 1));
    let last = tenant(&judged(), &Programmed::Everywhere { pods: 3 }, Some(&second), at(4));
    assert_eq!(told(&last, "Ready"), ("True".to_owned(), "Ready".to_owned(), 4));
    assert_eq!(told(&last, "Accepted").2, 1);
    assert_eq!(last.acknowledged.as_deref(), Some("3/3"));
}

#[test]
fn while_pods_are_about_to_answer_what_stands_there_stays() {
    let before = tenant(&judged(), &Programmed::Everywhere { pods: 3 }, None, at(1));
    let after = tenant(&judged(), &Programmed::Underway, Some(&before), at(2));
    assert_eq!(after, before);
    let first = tenant(&judged(), &Programmed::Underway, None, at(1));
    assert_eq!((first.conditions.len(), first.acknowledged), (2, None));
}
