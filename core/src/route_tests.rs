use std::collections::BTreeMap;

use super::*;
use crate::change::ChangeKey;
use crate::event::{Actor, DataContentType, SpecVersion};
use crate::id::AgentId;
use crate::kind::Rank;
use crate::mention::Mentions;
use crate::snapshot::{Alias, Bots, Heartbeat};

fn tenant() -> TenantKey {
    "acme/acme".parse().unwrap()
}

fn agent(name: &str, subscriptions: Vec<Subscription>) -> (String, Agent) {
    let agent = Agent {
        id: AgentId::of(&tenant(), name),
        display_name: name.into(),
        role: None,
        owner: None,
        labels: BTreeMap::new(),
        aliases: vec![format!("{name}-bot")],
        subscriptions,
        max_in_flight: 10,
        credential: None,
        shared_inboxes: vec![],
    };
    (name.into(), agent)
}

fn table(delivery: Delivery) -> RouteTable {
    let to_items =
        Subscription { kinds: vec![Kind::NewWorkItem], sources: vec!["github".into()], ..Default::default() };
    let no_bots = Subscription { bots: Bots::Exclude, labels: vec!["bug".into()], ..Default::default() };
    RouteTable::build(&GatewaySnapshot {
        tenant: tenant(),
        agents: [agent("coder", vec![to_items]), agent("reviewer", vec![no_bots]), agent("idle", vec![])]
            .into(),
        aliases: vec![Alias {
            name: "AI_Squad".into(),
            handles: [(Provider::Slack, "S0AISQUAD".into()), (Provider::GitHub, "acme/ai-squad".into())]
                .into(),
            members: vec!["coder".into(), "idle".into()],
            delivery,
        }],
        heartbeat: Heartbeat::default(),
    })
}

fn event(provider: Provider, kind: Kind, text: &str) -> StandardEvent {
    let mut mentions = Mentions::default();
    mentions.scan(text);
    StandardEvent {
        specversion: SpecVersion::V1,
        id: "0190163d-8694-739b-aea5-966c26f8ad91".parse().unwrap(),
        source: format!("/hooks/acme/acme/{}", provider.name()),
        kind,
        subject: None,
        time: "2026-11-24T07:00:00Z".parse().unwrap(),
        datacontenttype: DataContentType::Json,
        tenant: tenant(),
        receivedtime: "2026-11-24T07:00:00Z".parse().unwrap(),
        data: EventData {
            provider,
            provider_event: "x".into(),
            actor: None,
            title: None,
            text: Some(text.into()),
            url: None,
            mentions: mentions.into_vec(),
            thread_key: "t".into(),
            project_key: None,
            labels: vec![],
            links: vec![],
            enriched: true,
            change: ChangeKey::single("c", Rank::Update),
            item: None,
            changes: vec![],
            push: None,
            outcome: None,
            reaction: None,
        },
    }
}

fn targets(decision: &Decision) -> Vec<&str> {
    decision.chosen.iter().map(|chosen| chosen.target.as_str()).collect()
}

#[test]
fn a_subscription_chooses_and_the_others_say_why_not() {
    let decision = table(Delivery::All).route(&event(Provider::GitHub, Kind::NewWorkItem, ""));
    assert_eq!(targets(&decision), ["coder"]);
    assert_eq!(decision.chosen[0].rules, [Rule::Subscription { index: 0 }]);
    assert_eq!(decision.passed_over_count, 2);
    assert_eq!(
        decision.passed_over[1],
        PassedOver { mismatches: vec![Mismatch::Label], agents: vec!["reviewer".into()] }
    );
    let elsewhere = table(Delivery::All).route(&event(Provider::ClickUp, Kind::NewWorkItem, ""));
    assert_eq!(targets(&elsewhere), Vec::<&str>::new());
    assert_eq!(elsewhere.passed_over[0].mismatches, [Mismatch::Source]);
}

#[test]
fn those_who_are_passed_over_for_the_same_reasons_are_told_together() {
    let of_slack = Subscription { sources: vec!["slack".into()], ..Default::default() };
    let agents = (0..MAX_PASSED_OVER + 10).map(|n| {
        let subscriptions = if n % 2 == 0 { vec![of_slack.clone()] } else { vec![] };
        agent(&format!("agent-{n:02}"), subscriptions)
    });
    let snapshot = GatewaySnapshot {
        tenant: tenant(),
        agents: agents.collect(),
        aliases: vec![],
        heartbeat: Heartbeat::default(),
    };
    let decision = RouteTable::build(&snapshot).route(&event(Provider::GitHub, Kind::NewWorkItem, ""));
    assert_eq!(decision.passed_over_count, MAX_PASSED_OVER + 10);
    let [source, none] = &decision.passed_over[..] else { panic!("{:?}", decision.passed_over) };
    assert_eq!((&source.mismatches[..], &none.mismatches[..]), (&[Mismatch::Source][..], &[][..]));
    let half = |first: usize| (first..MAX_PASSED_OVER).step_by(2).map(|n| format!("agent-{n:02}"));
    assert!(source.agents.iter().cloned().eq(half(0)) && none.agents.iter().cloned().eq(half(1)));
}

#[test]
fn a_decision_that_was_kept_before_agents_were_put_together_is_read() {
    let kept = r#"{"agent": "idle", "mismatches": ["label"]}"#;
    let passed = PassedOver { mismatches: vec![Mismatch::Label], agents: vec!["idle".into()] };
    assert_eq!(serde_json::from_str::<PassedOver>(kept).unwrap(), passed);
    let json = serde_json::to_string(&passed).unwrap();
    assert_eq!(json, r#"{"mismatches":["label"],"agents":["idle"]}"#);
    assert_eq!(serde_json::from_str::<PassedOver>(&json).unwrap(), passed);
}

#[test]
fn an_alias_chooses_each_member_or_one_shared_inbox() {
    let mentioned = event(Provider::Slack, Kind::NewMessage, "@ai_squad help");
    assert_eq!(targets(&table(Delivery::All).route(&mentioned)), ["coder", "idle"]);
    let any = table(Delivery::Any).route(&mentioned);
    assert_eq!(targets(&any), ["@AI_Squad"]);
    assert_eq!(any.chosen[0].inbox, InboxId::of_alias(&tenant(), "AI_Squad"));
}

#[test]
fn provider_groups_resolve_by_id_for_their_provider_only() {
    let team = event(Provider::GitHub, Kind::NewComment, "cc @Acme/AI-Squad");
    assert_eq!(targets(&table(Delivery::All).route(&team)), ["coder", "idle"]);
    let mut slack = event(Provider::Slack, Kind::NewMessage, "");
    slack.data.mentions = vec![Mention { kind: MentionKind::Group, id: "S0AISQUAD".into(), name: None }];
    assert_eq!(targets(&table(Delivery::All).route(&slack)), ["coder", "idle"]);
    slack.data.provider = Provider::ClickUp;
    let nobody = table(Delivery::All).route(&slack);
    assert_eq!(targets(&nobody), Vec::<&str>::new());
    assert_eq!(nobody.unresolved, ["S0AISQUAD"]);
}

#[test]
fn an_agent_is_reached_by_its_name_and_its_aliases() {
    let decision =
        table(Delivery::All).route(&event(Provider::GitHub, Kind::NewComment, "@Idle, @reviewer-bot?"));
    assert_eq!(targets(&decision), ["idle", "reviewer"]);
    assert_eq!(decision.chosen[0].rules, [Rule::Mention { mention: "Idle".into() }]);
}

#[test]
fn two_rules_are_both_recorded_and_the_event_is_handed_once() {
    let decision =
        table(Delivery::All).route(&event(Provider::GitHub, Kind::NewWorkItem, "@coder @AI_Squad"));
    assert_eq!(targets(&decision), ["coder", "idle"]);
    assert_eq!(decision.chosen[0].rules.len(), 3);
}

#[test]
fn filters_hold_together() {
    let mut labelled = event(Provider::GitHub, Kind::ChangeProposed, "");
    labelled.data.labels = vec!["bug".into()];
    assert_eq!(targets(&table(Delivery::All).route(&labelled)), ["reviewer"]);
    labelled.data.actor = Some(Actor { id: "1".into(), display: None, is_bot: true });
    let decision = table(Delivery::All).route(&labelled);
    let reviewer = |passed: &&PassedOver| passed.agents.contains(&"reviewer".to_owned());
    assert_eq!(decision.passed_over.iter().find(reviewer).unwrap().mismatches, [Mismatch::Bots]);
}
