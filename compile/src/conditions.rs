//! Conditions: what is wrong with an object, where, and how to mend it.

use std::collections::BTreeMap;
use std::fmt;

use kube::ResourceExt;
use serde::{Deserialize, Serialize};

/// At most this many findings are spelt out in one message.
const MAX_SPELT_OUT: usize = 10;

/// Kinds of object that are compiled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum ObjectKind {
    /// A Tenant.
    Tenant,
    /// An AgentProfile.
    AgentProfile,
    /// A Mapping.
    Mapping,
}

impl fmt::Display for ObjectKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tenant => "Tenant",
            Self::AgentProfile => "AgentProfile",
            Self::Mapping => "Mapping",
        })
    }
}

/// Types of condition that compiling can tell of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum ConditionType {
    /// What the object says is valid.
    Accepted,
    /// What the object refers to is there.
    ResolvedRefs,
}

impl ConditionType {
    /// The type's name, as in `status.conditions`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Accepted => "Accepted",
            Self::ResolvedRefs => "ResolvedRefs",
        }
    }
}

/// Whether a condition holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Status {
    /// It holds.
    True,
    /// It does not.
    False,
}

macro_rules! reasons {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// Why a condition has its status; spelt as here in `status.conditions`, for ever.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub enum Reason {
            $($(#[$doc])* $name,)*
        }

        impl Reason {
            /// The reason's name.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$name => stringify!($name),)* }
            }
        }
    };
}

reasons! {
    /// All is well with what the object says.
    Accepted,
    /// All is well with what the object refers to.
    ResolvedRefs,
    /// A number, a length or a pattern is out of the schema's bounds.
    OutOfBounds,
    /// The object is not of the shape that its kind has; an API server takes none such.
    Unreadable,
    /// Two sources have one name.
    DuplicateSource,
    /// Two aliases have one name.
    DuplicateAlias,
    /// Two aliases claim one group of a provider.
    DuplicateHandle,
    /// A label selector that Kubernetes would not take.
    InvalidSelector,
    /// A subscription names a kind of event that there is not.
    UnknownKind,
    /// An agent's alias that nobody could mention.
    InvalidAlias,
    /// A Mapping would link what older ones link already, so that messages went round.
    MappingLoop,
    /// A profile or a mapping names a Tenant that is not there.
    TenantNotFound,
    /// The Tenant does not have a source that a subscription names or a mapping needs.
    SourceNotFound,
    /// A Secret is not there.
    SecretNotFound,
    /// A Secret has no such key.
    SecretKeyNotFound,
    /// A Secret's key is there and holds nothing.
    SecretEmpty,
    /// A Secret cannot be read, so that nobody knows whether it is there.
    SecretUnreadable,
    /// A Deployment may not be watched or scaled, so that no stop reaches it.
    WorkloadForbidden,
    /// A client secret is too short to be safe as a hash.
    ClientSecretTooShort,
    /// The client id of an agent's Secret is not the agent's id.
    ClientIdMismatch,
    /// Not wrong: an alias stands for nobody at the moment.
    NoMembers,
    /// Not wrong: a name is claimed twice, and one meaning wins.
    NameClash,
    /// Not wrong: a Deployment is not there, or not yet.
    WorkloadNotFound,
    /// Not wrong: a secret ends with a line break, which is seldom meant.
    SecretEndsWithNewline,
}

/// One condition of an object. The time of its last transition is for whoever writes it to add.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Condition {
    /// Its type.
    #[serde(rename = "type")]
    pub kind: ConditionType,
    /// Whether it holds.
    pub status: Status,
    /// Why, for programs. While it holds, something other than the type's own name is worth a look.
    pub reason: Reason,
    /// Why, for people.
    pub message: String,
    /// `metadata.generation` of the object that was judged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
}

/// The conditions of one object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ObjectConditions {
    /// Its kind.
    pub kind: ObjectKind,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// `Accepted` and `ResolvedRefs`, in this order; the former alone of an object that cannot be read.
    pub conditions: Vec<Condition>,
}

impl ObjectConditions {
    /// Those of an object that cannot be read. `has_last_good`: whether an older value of it is in force.
    #[must_use]
    pub fn unreadable(
        kind: ObjectKind,
        (namespace, name): (&str, &str),
        generation: Option<i64>,
        error: &str,
        has_last_good: bool,
    ) -> Self {
        let stays = if has_last_good { " Its last good value stays in force." } else { "" };
        let condition = Condition {
            kind: ConditionType::Accepted,
            status: Status::False,
            reason: Reason::Unreadable,
            message: format!("It cannot be read: {error}; write it as `kubectl explain` tells.{stays}"),
            observed_generation: generation,
        };
        Self { kind, namespace: namespace.to_owned(), name: name.to_owned(), conditions: vec![condition] }
    }

    /// The condition of a type.
    #[must_use]
    pub fn get(&self, kind: ConditionType) -> Option<&Condition> {
        self.conditions.iter().find(|condition| condition.kind == kind)
    }

    /// Adds what only a cluster shows of what the object refers to: at this path, in this way, to be mended like this. What is
    /// wrong comes before what is merely worth a look, and what was found before it stays first.
    pub fn refer(&mut self, wrong: bool, reason: Reason, path: &str, what: &str, remedy: &str) {
        let of_references = |condition: &&mut Condition| condition.kind == ConditionType::ResolvedRefs;
        let Some(condition) = self.conditions.iter_mut().find(of_references) else { return };
        let well = condition.reason == Reason::ResolvedRefs;
        let told = if well { String::new() } else { std::mem::take(&mut condition.message) };
        let mut message = String::new();
        sentence(&mut message, &format!("`{path}`: {what}; {remedy}"));
        let first = well || (wrong && condition.status == Status::True);
        condition.message = match first {
            _ if told.is_empty() => message,
            true => format!("{message} {told}"),
            false => format!("{told} {message}"),
        };
        if first {
            condition.reason = reason;
        }
        if wrong {
            condition.status = Status::False;
        }
    }
}

/// Something that was found, under the condition that it belongs to.
#[derive(Debug)]
struct Finding {
    condition: ConditionType,
    wrong: bool,
    reason: Reason,
    message: String,
}

/// What was found about one object.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    list: Vec<Finding>,
    consequences: BTreeMap<Consequence, Vec<String>>,
}

/// What a refused part comes to until it is mended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Consequence {
    /// It is as if it were not there.
    LeftOut,
    /// The default holds.
    Default,
    /// What it said before holds.
    LastGood,
}

impl Consequence {
    /// For a part that can be left out.
    pub(crate) fn of_part(has_last_good: bool) -> Self {
        if has_last_good { Self::LastGood } else { Self::LeftOut }
    }

    /// For a number, which has a default.
    pub(crate) fn of_number(has_last_good: bool) -> Self {
        if has_last_good { Self::LastGood } else { Self::Default }
    }

    fn says(self) -> &'static str {
        match self {
            Self::LeftOut => "Left out until then",
            Self::Default => "The default holds until then for",
            Self::LastGood => "The last good value stays for",
        }
    }
}

impl Findings {
    /// What the object says is wrong: at this path, in this way, to be mended like this.
    pub(crate) fn refuse(&mut self, reason: Reason, path: &str, what: &str, remedy: &str) {
        self.push(ConditionType::Accepted, true, reason, path, what, remedy);
    }

    /// What the object refers to is not there.
    pub(crate) fn unresolved(&mut self, reason: Reason, path: &str, what: &str, remedy: &str) {
        self.push(ConditionType::ResolvedRefs, true, reason, path, what, remedy);
    }

    /// Nothing is wrong, yet somebody may wonder.
    pub(crate) fn note(
        &mut self,
        condition: ConditionType,
        reason: Reason,
        path: &str,
        what: &str,
        remedy: &str,
    ) {
        self.push(condition, false, reason, path, what, remedy);
    }

    /// Says what a refused part comes to.
    pub(crate) fn consequence(&mut self, consequence: Consequence, part: &str) {
        self.consequences.entry(consequence).or_default().push(part.to_owned());
    }

    fn push(
        &mut self,
        condition: ConditionType,
        wrong: bool,
        reason: Reason,
        path: &str,
        what: &str,
        remedy: &str,
    ) {
        self.list.push(Finding { condition, wrong, reason, message: format!("`{path}`: {what}; {remedy}") });
    }

    /// Both conditions of the object that was judged.
    pub(crate) fn conditions(&self, kind: ObjectKind, object: &impl kube::Resource) -> ObjectConditions {
        let generation = object.meta().generation;
        ObjectConditions {
            kind,
            namespace: object.namespace().unwrap_or_default(),
            name: object.name_any(),
            conditions: vec![
                self.condition(ConditionType::Accepted, generation),
                self.condition(ConditionType::ResolvedRefs, generation),
            ],
        }
    }

    fn condition(&self, kind: ConditionType, observed_generation: Option<i64>) -> Condition {
        // What is wrong comes before what is merely worth a look, and gives the reason.
        let of = |wrong| self.list.iter().filter(move |one| one.condition == kind && one.wrong == wrong);
        let list: Vec<_> = of(true).chain(of(false)).collect();
        let well = match kind {
            ConditionType::Accepted => (Reason::Accepted, "All of it is valid."),
            ConditionType::ResolvedRefs => (Reason::ResolvedRefs, "All references resolve."),
        };
        let Some(first) = list.first() else {
            return Condition {
                kind,
                status: Status::True,
                reason: well.0,
                message: well.1.to_owned(),
                observed_generation,
            };
        };
        Condition {
            kind,
            status: if first.wrong { Status::False } else { Status::True },
            reason: first.reason,
            message: self.message(kind, &list),
            observed_generation,
        }
    }

    fn message(&self, kind: ConditionType, list: &[&Finding]) -> String {
        let mut message = String::new();
        for one in list.iter().take(MAX_SPELT_OUT) {
            sentence(&mut message, &one.message);
        }
        if list.len() > MAX_SPELT_OUT {
            sentence(&mut message, &format!("And {} more", list.len() - MAX_SPELT_OUT));
        }
        if kind == ConditionType::Accepted {
            for (consequence, parts) in &self.consequences {
                let some: Vec<_> = parts.iter().take(MAX_SPELT_OUT).map(String::as_str).collect();
                sentence(&mut message, &format!("{}: {}", consequence.says(), some.join(", ")));
            }
        }
        message
    }
}

fn sentence(text: &mut String, sentence: &str) {
    if !text.is_empty() {
        text.push(' ');
    }
    text.push_str(sentence);
    if !sentence.ends_with('?') {
        text.push('.');
    }
}
