//! What must be true of each step of a pod.

use nexus_core::stop::{EngagementName, Merged, Mirror, Workloads};

use super::explore::Message;
use super::history::History;
use super::rule::Rule;
use super::spec::{Done, Spec};
use super::world::{Name, Person, UIDS, policy_name, text};

/// What the rule and the specification say of a step.
pub(crate) struct Answer {
    pub(crate) merged: Merged,
    pub(crate) done: Done,
}

/// Whether the rule did with a message what is promised.
pub(crate) fn step<R: Rule>(
    history: &History,
    message: Message,
    before: (&R, &Spec),
    after: (&R, &Spec),
    answer: Answer,
) -> Result<(), String> {
    let ((rule_before, spec_before), (rule, spec)) = (before, after);
    is_meant(history, spec_before, spec)?;
    let Answer { merged, done } = answer;
    same("said to be engaged", names(&merged.engaged), done.engaged.iter().copied().map(text).collect())?;
    same("said to be released", names(&merged.released), done.released.iter().copied().map(text).collect())?;
    if merged.changed != (rule_before.latch() != rule.latch()) {
        return Err("what must be kept is not what is said to have changed".to_owned());
    }
    let Message::Look(at) = message else { return Ok(()) };
    let alarms = rule.alarms().iter().map(|alarm| format!("{} {}", alarm.policy, alarm.engagement)).collect();
    let promised = |(uid, generation): Name| format!("{} {}", policy_name(uid), text((uid, generation)));
    same("alarms", alarms, spec.alarms(at, history).into_iter().map(promised).collect())
}

/// Whether the rule knows what is promised.
pub(crate) fn knows<R: Rule>(rule: &R, spec: &Spec) -> Result<(), String> {
    people(rule, spec)?;
    holds(rule, spec)
}

/// Who may run, and if not, because of what.
fn people<R: Rule>(rule: &R, spec: &Spec) -> Result<(), String> {
    for person in Person::ALL {
        let verdict = rule.decide(&person.subject());
        match (spec.may_run(person), verdict.may_run()) {
            (true, false) => return Err(format!("{person:?} is stopped though nothing stops them")),
            (false, true) => return Err(format!("{person:?} runs though stopped")),
            _ => {}
        }
    }
    Ok(())
}

/// What is engaged, by which name, and how strictly.
fn holds<R: Rule>(rule: &R, spec: &Spec) -> Result<(), String> {
    let held = rule.latch().engagements().map(|engagement| {
        let strict = (engagement.workloads, engagement.mirror);
        (&*engagement.policy, &*engagement.uid, engagement.generation, strict)
    });
    let promised = spec.held().map(|(uid, held)| {
        let strict = if held.is_strict() {
            (Workloads::ScaleToZero, Mirror::Pause)
        } else {
            (Workloads::Keep, Mirror::Run)
        };
        (policy_name(uid), UIDS[uid], held.generation, strict)
    });
    let (held, promised): (Vec<_>, Vec<_>) = (held.collect(), promised.collect());
    if held == promised {
        return Ok(());
    }
    let show = |held: &[(&str, &str, u64, _)]| {
        let show = held.iter().map(|(policy, uid, generation, strict)| {
            format!("{policy} {}-{generation} {strict:?}", &uid[..8])
        });
        show.collect::<Vec<_>>().join(", ")
    };
    Err(format!("what is engaged is `{}`, and not `{}`", show(&held), show(&promised)))
}

/// Nothing is released that nobody has named. This asks what people did, not what a pod has seen. A name that was written
/// before its stop was ordered counts only by what a pod has seen.
fn is_meant(history: &History, before: &Spec, after: &Spec) -> Result<(), String> {
    let released = before.held().filter(|(uid, _)| after.holds(*uid).is_none());
    let mut released = released.map(|(uid, held)| (uid, held.generation));
    match released.find(|name| history.is_unarmed() && !history.named.contains(name)) {
        Some(name) => Err(format!("{} ends though nobody released it", text(name))),
        None => Ok(()),
    }
}

fn names(names: &[EngagementName]) -> Vec<String> {
    names.iter().map(ToString::to_string).collect()
}

fn same(what: &str, mut found: Vec<String>, mut promised: Vec<String>) -> Result<(), String> {
    found.sort();
    promised.sort();
    if found == promised { Ok(()) } else { Err(format!("{what}: {found:?}, and not {promised:?}")) }
}
