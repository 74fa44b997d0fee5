use super::super::samples::{event, rules};
use super::*;

const SOURCES: &str = "sources: [{name: github, provider: github, secretRef: {name: webhooks, key: github}}]";

/// An alias for the agents that have these labels.
fn tenant(members: &str, delivery: &str) -> String {
    format!(
        "{{{SOURCES}, aliases: [{{name: \"@squad\", agents: {{matchLabels: {members}}}, delivery: {delivery}}}]}}"
    )
}

fn build(tenant: &str, profiles: &[(&str, &str)]) -> Rules {
    Rules::build(&[rules(tenant, profiles)])
}

const ITEMS: &str = "subscriptions: [{kinds: [NewWorkItem]}]";
const COMMENTS: &str = "subscriptions: [{kinds: [NewComment]}]";

fn whys(moved: &Moved) -> Vec<String> {
    moved
        .changes
        .iter()
        .map(|change| format!("{:?} {}: {}", change.change, change.target, change.why))
        .collect()
}

#[test]
fn an_event_that_goes_where_it_went_has_not_moved() {
    let tenant = tenant("{all: \"yes\"}", "all");
    let before = build(&tenant, &[("coder", ITEMS)]);
    // Named besides, and by another place in the list: the same agent.
    let other = "subscriptions: [{kinds: [NewComment]}, {kinds: [NewWorkItem]}]";
    let after = build(&tenant, &[("coder", other)]);
    assert_eq!(before.moved(&after, &event(1, "")), None);
    assert_eq!(before.moved(&after, &event(1, "@squad")), None);
    assert_eq!(before.agents(&after), Agents::default());
}

#[test]
fn a_subscription_moves_an_event_and_says_why() {
    let tenant = tenant("{all: \"yes\"}", "all");
    let before = build(&tenant, &[("coder", ITEMS), ("tester", COMMENTS)]);
    let after = build(&tenant, &[("coder", COMMENTS), ("tester", ITEMS)]);
    let moved = before.moved(&after, &event(1, "")).unwrap();
    assert_eq!(
        (moved.before.as_slice(), moved.after.as_slice()),
        (&["coder".into()][..], &["tester".into()][..])
    );
    assert_eq!(
        whys(&moved),
        [
            "Loses coder: was: subscriptions[0] matches; now: not named; subscriptions[0]: another kind",
            "Gains tester: subscriptions[0] matches",
        ]
    );
}

#[test]
fn an_agent_of_one_side_only_is_told_of() {
    let tenant = tenant("{all: \"yes\"}", "all");
    let before = build(&tenant, &[("coder", ITEMS)]);
    let after = build(&tenant, &[("tester", ITEMS)]);
    let moved = before.moved(&after, &event(1, "")).unwrap();
    assert!(whys(&moved)[0].ends_with("now: the agent is not there"), "{moved:?}");
    let agents = before.agents(&after);
    assert_eq!(
        (agents.removed, agents.added),
        (vec!["coder of acme/acme".into()], vec!["tester of acme/acme".into()])
    );
}

#[test]
fn a_tenant_of_one_side_only_loses_everything() {
    let before = build(&tenant("{all: \"yes\"}", "all"), &[("coder", ITEMS)]);
    let moved = before.moved(&Rules::default(), &event(1, "")).unwrap();
    assert!(whys(&moved)[0].ends_with("now: the tenant is not there"));
    assert!(moved.after.is_empty());
    assert_eq!(Rules::default().moved(&before, &event(1, "")).unwrap().after, ["coder"]);
    assert_eq!(
        before.moved(&Rules::default(), &StandardEvent { tenant: "a/b".parse().unwrap(), ..event(1, "") }),
        None
    );
}

#[test]
fn members_of_an_alias_count_whether_each_gets_it_or_one() {
    let agents = [("coder", ""), ("tester", "")];
    for (delivery, expected) in [
        (
            "all",
            vec!["Loses tester: was: the text names alias @squad; now: not named, and has no subscription"],
        ),
        ("any", vec!["Shares @squad: shared by coder instead of coder, tester"]),
    ] {
        let before = build(&tenant("{all: \"yes\"}", delivery), &agents);
        let after = build(&tenant("{agent: coder}", delivery), &agents);
        assert_eq!(whys(&before.moved(&after, &event(1, "@squad")).unwrap()), expected);
        assert_eq!(before.moved(&after, &event(1, "")), None);
    }
}

#[test]
fn another_delivery_of_an_alias_moves_what_names_it() {
    let agents = [("coder", "")];
    let before = build(&tenant("{all: \"yes\"}", "all"), &agents);
    let after = build(&tenant("{all: \"yes\"}", "any"), &agents);
    let moved = before.moved(&after, &event(1, "@squad")).unwrap();
    assert_eq!(moved.after, ["@squad"]);
    let back = after.moved(&before, &event(1, "@squad")).unwrap();
    assert!(whys(&back)[0].contains("no alias @squad with `delivery: any` is named"), "{back:?}");
}
