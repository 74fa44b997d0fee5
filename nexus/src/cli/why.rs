//! `nexus why`: one event's decision and fate on one screen.

use std::fmt::Write as _;

use anyhow::Context as _;
use nexus_core::id::EventId;
use nexus_core::route::{Chosen, Decision, Mismatch, PassedOver, Rule};
use nexus_store::bus::Copy;

use super::args::SelectArgs;
use super::client::Client;
use super::output::{Output, clip, span};
use super::pages::Pages;
use crate::api::{CopyStory, EventStory};

/// Agents that were passed over and are named on the screen.
const SHOWN: usize = 10;

/// Explains one event.
pub async fn run(client: &Client, event: &str, output: Output) -> anyhow::Result<()> {
    let id = resolve(client, event).await?;
    let story: EventStory = client.get(&format!("events/{id}")).await?;
    output.show(&story, show)
}

/// The id that a person gave, `last` being the newest event.
pub async fn resolve(client: &Client, event: &str) -> anyhow::Result<EventId> {
    if event != "last" {
        return event.parse().with_context(|| "give an id as `nexus events` lists them, or `last`");
    }
    let newest = Pages::open(client, &SelectArgs::default(), false, 1).await?.next().await?;
    Ok(newest.context("there is no event yet")?.id)
}

/// The screen.
pub fn show(story: &EventStory) -> String {
    let event = &story.event;
    let mut text = String::new();
    let _ = writeln!(text, "{} {} from {}", event.kind, event.id, event.source);
    if let Some(title) = event.data.title.as_ref().or(event.data.text.as_ref()) {
        let _ = writeln!(text, "  {}", clip(title, 100));
    }
    let actor = event.data.actor.as_ref().map(|actor| {
        let name = actor.display.as_deref().unwrap_or(&actor.id);
        format!(", by {name}{}", if actor.is_bot { " (a program)" } else { "" })
    });
    let _ = writeln!(
        text,
        "  {} of {}{}",
        event.data.provider_event,
        event.data.thread_key,
        actor.unwrap_or_default()
    );
    match &story.decision {
        None => {
            let _ = writeln!(text, "\nNot routed yet.");
        }
        Some(decision) => show_decision(&mut text, story, decision),
    }
    show_others(&mut text, story);
    text
}

fn show_decision(text: &mut String, story: &EventStory, decision: &Decision) {
    let _ = writeln!(text, "\nROUTED TO (by configuration {})", decision.version.short());
    if decision.chosen.is_empty() {
        let _ = writeln!(text, "  nobody; the event is kept and can be replayed");
    }
    for chosen in &decision.chosen {
        let _ = writeln!(text, "  {:<16} {}", chosen.target, rules(&chosen.rules));
        let _ = writeln!(text, "  {:<16} {}", "", fate(story, chosen));
    }
    if decision.passed_over_count > 0 {
        let _ = writeln!(text, "\nNOT TO");
        show_passed_over(text, decision);
    }
    if !decision.unresolved.is_empty() {
        let _ = writeln!(text, "\nNAMED, BUT UNKNOWN HERE: {}", decision.unresolved.join(", "));
    }
}

/// A line for each of the first who were passed over, by name.
fn show_passed_over(text: &mut String, decision: &Decision) {
    let all = decision.passed_over.iter();
    let mut all: Vec<_> =
        all.flat_map(|passed| passed.agents.iter().map(move |agent| (agent, passed))).collect();
    all.sort_unstable_by_key(|(agent, _)| *agent);
    for (agent, passed) in all.into_iter().take(SHOWN) {
        let _ = writeln!(text, "  {agent:<16} {}", why_not(passed));
    }
    let more = decision.passed_over_count.saturating_sub(SHOWN);
    if more > 0 {
        let _ = writeln!(text, "  … and {more} more");
    }
}

/// Copies that the decision does not name: an event can be replayed to anybody.
fn show_others(text: &mut String, story: &EventStory) {
    let chosen = |copy: &CopyStory| {
        story.decision.iter().flat_map(|decision| &decision.chosen).any(|chosen| chosen.inbox == copy.inbox)
    };
    let others: Vec<_> = story.copies.iter().filter(|copy| !chosen(copy)).collect();
    if !others.is_empty() {
        let _ = writeln!(text, "\nREPLAYED TO");
    }
    for copy in others {
        let inbox = copy.inbox.to_string();
        let _ = writeln!(text, "  {:<16} {}", copy.target.as_deref().unwrap_or(&inbox), became(story, copy));
    }
}

/// The rules that chose somebody, for people.
pub fn rules(rules: &[Rule]) -> String {
    rules.iter().map(rule).collect::<Vec<_>>().join("; ")
}

fn rule(rule: &Rule) -> String {
    match rule {
        Rule::Mention { mention } => format!("the text names @{mention}"),
        Rule::Alias { alias, mention } if alias.eq_ignore_ascii_case(mention) => {
            format!("the text names alias @{alias}")
        }
        Rule::Alias { alias, mention } => format!("the text names @{mention}, which means alias @{alias}"),
        Rule::Subscription { index } => format!("subscriptions[{index}] matches"),
    }
}

/// Why an agent was passed over, for people.
pub fn why_not(passed: &PassedOver) -> String {
    if passed.mismatches.is_empty() {
        return "not named, and has no subscription".to_owned();
    }
    let reasons: Vec<_> = (0..)
        .zip(&passed.mismatches)
        .map(|(index, mismatch): (usize, _)| format!("subscriptions[{index}]: {}", mismatch_text(*mismatch)))
        .collect();
    format!("not named; {}", reasons.join(", "))
}

fn mismatch_text(mismatch: Mismatch) -> &'static str {
    match mismatch {
        Mismatch::Kind => "another kind",
        Mismatch::Source => "another source",
        Mismatch::Project => "another project",
        Mismatch::Label => "none of its labels",
        Mismatch::Bots => "filters.bots",
    }
}

fn fate(story: &EventStory, chosen: &Chosen) -> String {
    let copy = story.copies.iter().find(|copy| copy.inbox == chosen.inbox);
    copy.map_or_else(|| "no longer kept".to_owned(), |copy| became(story, copy))
}

fn became(story: &EventStory, copy: &CopyStory) -> String {
    let received = story.event.receivedtime;
    match &copy.copy {
        Copy::Waiting { attempts: 0, .. } => "waits to be delivered".to_owned(),
        Copy::Waiting { attempts, not_before: None } => format!("waits again after {attempts} attempts"),
        Copy::Waiting { attempts, not_before: Some(time) } => {
            format!("waits until {time} after {attempts} attempts")
        }
        Copy::Held { attempt, since, .. } => {
            format!("delivered after {}, attempt {attempt}, not acknowledged yet", span(received, *since))
        }
        Copy::Done { attempts, delivered, acked, .. } => format!(
            "delivered after {}, acknowledged after {}, attempt {attempts}",
            span(received, *delivered),
            span(received, *acked)
        ),
        Copy::Coalesced => "left out: another event of the same change was delivered".to_owned(),
        Copy::Dead { attempts, reason } => format!("parked after {attempts} attempts: {reason}"),
        Copy::Dropped { attempts, reason, dropped } => {
            format!("parked after {attempts} attempts: {reason}; given up at {dropped}")
        }
    }
}

#[cfg(test)]
mod tests {
    use nexus_core::snapshot::Version;

    use super::*;

    #[test]
    fn who_was_passed_over_is_shown_by_name_whatever_the_reason() {
        let names = |first: usize| (first..12).step_by(2).map(|n| format!("agent-{n:02}")).collect();
        let passed_over = vec![
            PassedOver { mismatches: vec![Mismatch::Kind, Mismatch::Label], agents: names(0) },
            PassedOver { mismatches: vec![], agents: names(1) },
        ];
        let decision = Decision {
            version: Version::of(&"x"),
            chosen: vec![],
            passed_over,
            passed_over_count: 12,
            unresolved: vec![],
        };
        let mut text = String::new();
        show_passed_over(&mut text, &decision);
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines.len(), SHOWN + 1);
        let reasons = "subscriptions[0]: another kind, subscriptions[1]: none of its labels";
        assert_eq!(lines[0], format!("  agent-00         not named; {reasons}"));
        assert_eq!(lines[1], "  agent-01         not named, and has no subscription");
        assert_eq!(lines[9], "  agent-09         not named, and has no subscription");
        assert_eq!(lines[10], "  … and 2 more");
    }
}
