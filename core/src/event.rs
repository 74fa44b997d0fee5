//! StandardEvent: one format for everything that a provider tells, as a CloudEvents 1.0 event in JSON.
//!
//! The attributes at the top are CloudEvents' (`tenant` and `receivedtime` are extensions); `data` is typed
//! and reads the same whichever provider sent it. Fields that a provider did not tell are left out.
//! Source: CloudEvents 1.0.2, JSON event format.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::change::ChangeKey;
use crate::id::{EventId, TenantKey};
use crate::kind::Kind;
use crate::mention::Mention;

/// A provider of events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Provider {
    /// ClickUp, webhooks of API v2.
    ClickUp,
    /// Slack, Events API over HTTP.
    Slack,
    /// GitHub, repository, organization and App webhooks.
    GitHub,
}

impl Provider {
    /// The provider's name as CRs, URLs and metric labels spell it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::ClickUp => "clickup",
            Self::Slack => "slack",
            Self::GitHub => "github",
        }
    }
}

/// `"1.0"`, the only CloudEvents version there is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum SpecVersion {
    /// CloudEvents 1.0.
    #[default]
    #[serde(rename = "1.0")]
    V1,
}

/// The media type of `data`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum DataContentType {
    /// JSON.
    #[default]
    #[serde(rename = "application/json")]
    Json,
}

/// The kind under its CloudEvents `type`.
mod event_type {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    use crate::kind::Kind;

    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature for `with`")]
    pub(super) fn serialize<S: Serializer>(kind: &Kind, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(kind.event_type())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Kind, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.strip_prefix("dev.nexus.")
            .and_then(|rest| rest.strip_suffix(".v1"))
            .and_then(|name| name.parse().ok())
            .ok_or_else(|| D::Error::custom(format!("`{text}` is no event type of this version")))
    }
}

/// One event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct StandardEvent {
    /// CloudEvents version.
    pub specversion: SpecVersion,
    /// Unique id, given when the event was accepted.
    pub id: EventId,
    /// Where it came from: `/hooks/{namespace}/{tenant}/{source}`.
    pub source: String,
    /// What happened, as `dev.nexus.<kind>.v1`.
    #[serde(rename = "type", with = "event_type")]
    #[schemars(with = "String")]
    pub kind: Kind,
    /// What it happened to, in the provider's words: `acme/shop#12`, a task id, `C024BE91L/1700000000.000100`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// When it happened by the provider's clock; the time of receipt where the provider tells none. UTC.
    pub time: Timestamp,
    /// Media type of `data`.
    pub datacontenttype: DataContentType,
    /// The tenant, `namespace/name`.
    pub tenant: TenantKey,
    /// When Nexus received it. UTC.
    pub receivedtime: Timestamp,
    /// What happened.
    pub data: EventData,
}

impl StandardEvent {
    /// The source's name, the last part of the `source` attribute.
    #[must_use]
    pub fn source_name(&self) -> &str {
        self.source.rsplit('/').next().unwrap_or(&self.source)
    }
}

/// What happened, in fields that are the same for every provider.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct EventData {
    /// Who sent it.
    pub provider: Provider,
    /// The provider's own name of the event, `issues.opened`, `taskCreated`, `message`.
    pub provider_event: String,
    /// Who did it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub actor: Option<Actor>,
    /// A one-line title, plain text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// The text, in the provider's own markup.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// A page for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// Who is named in the text, in order of first appearance.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub mentions: Vec<Mention>,
    /// The conversation that the event belongs to; events of one thread keep their order.
    pub thread_key: String,
    /// The list, channel or repository: `901`, `C024BE91L`, `acme/shop`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub project_key: Option<String>,
    /// Labels or tags.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub labels: Vec<String>,
    /// Related things.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub links: Vec<Link>,
    /// Whether the event carries all that agents can expect; false where the provider sent ids only.
    pub enriched: bool,
    /// The changes that it tells of, for an agent's own bookkeeping.
    pub change: ChangeKey,
    /// The task, issue or pull request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub item: Option<Item>,
    /// What became different.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub changes: Vec<FieldChange>,
    /// The commits that were pushed, or the branch or tag.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub push: Option<Push>,
    /// The outcome of a build, check, review or deployment: `success`, `failure`, `approved`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<String>,
    /// The reaction's name, without colons.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reaction: Option<String>,
}

/// Who did something.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Actor {
    /// The provider's stable id.
    pub id: String,
    /// A name to show.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub display: Option<String>,
    /// Whether it is a program. Needed against loops.
    pub is_bot: bool,
}

/// A task, an issue or a pull request.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Item {
    /// The provider's stable id.
    pub id: String,
    /// The number that people use, where there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub number: Option<u32>,
    /// Its state or status, as the provider spells it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
    /// Names of those it is assigned to.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub assignees: Vec<String>,
}

/// One field that became different.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FieldChange {
    /// The field, as the provider spells it.
    pub field: String,
    /// Its value before, as text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<String>,
    /// Its value after, as text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
}

/// Commits that were pushed, or a branch or tag that came or went.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Push {
    /// The full ref, `refs/heads/main`.
    pub git_ref: String,
    /// The commit before, 40 hex digits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<String>,
    /// The commit after, 40 hex digits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
    /// How many commits.
    pub commits: u32,
}

/// A related thing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Link {
    /// How it is related: `parent`, `pull-request`, `reply-to`, `commit`.
    pub rel: String,
    /// Its address, or its id where it has none.
    pub href: String,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kind::Rank;

    fn event() -> StandardEvent {
        StandardEvent {
            specversion: SpecVersion::V1,
            id: "0190163d-8694-739b-aea5-966c26f8ad91".parse().unwrap(),
            source: "/hooks/acme/acme/github".into(),
            kind: Kind::NewWorkItem,
            subject: Some("acme/shop#12".into()),
            time: "2026-11-24T07:00:00Z".parse().unwrap(),
            datacontenttype: DataContentType::Json,
            tenant: "acme/acme".parse().unwrap(),
            receivedtime: "2026-11-24T07:00:00.25Z".parse().unwrap(),
            data: EventData {
                provider: Provider::GitHub,
                provider_event: "issues.opened".into(),
                actor: Some(Actor { id: "1".into(), display: Some("ann".into()), is_bot: false }),
                title: Some("Cart is empty".into()),
                text: None,
                url: None,
                mentions: vec![],
                thread_key: "github:acme/shop#12".into(),
                project_key: Some("acme/shop".into()),
                labels: vec!["bug".into()],
                links: vec![],
                enriched: true,
                change: ChangeKey::single("github:guid", Rank::Birth),
                item: Some(Item { id: "77".into(), number: Some(12), ..Item::default() }),
                changes: vec![],
                push: None,
                outcome: None,
                reaction: None,
            },
        }
    }

    #[test]
    fn the_json_is_a_cloudevent() {
        let json = serde_json::to_string(&event()).unwrap();
        assert_eq!(
            json,
            concat!(
                r#"{"specversion":"1.0","id":"0190163d-8694-739b-aea5-966c26f8ad91","source":"/hooks/acme/acme/github","#,
                r#""type":"dev.nexus.NewWorkItem.v1","subject":"acme/shop#12","time":"2026-11-24T07:00:00Z","#,
                r#""datacontenttype":"application/json","tenant":"acme/acme","receivedtime":"2026-11-24T07:00:00.25Z","#,
                r#""data":{"provider":"github","providerEvent":"issues.opened","#,
                r#""actor":{"id":"1","display":"ann","isBot":false},"title":"Cart is empty","#,
                r#""threadKey":"github:acme/shop#12","projectKey":"acme/shop","labels":["bug"],"enriched":true,"#,
                r#""change":{"keys":["github:guid"],"rank":"birth"},"item":{"id":"77","number":12}}}"#
            )
        );
        assert_eq!(serde_json::from_str::<StandardEvent>(&json).unwrap(), event());
    }

    #[test]
    fn the_source_name_is_the_last_part() {
        assert_eq!(event().source_name(), "github");
    }
}
