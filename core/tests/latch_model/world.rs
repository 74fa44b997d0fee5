//! Policies and agents: what can stand, and what is seen of it.

use std::sync::LazyLock;

use nexus_core::id::{AgentId, TenantKey};
use nexus_core::selector::{Labels, Selector};
use nexus_core::stop::{Mirror, Policy, Subject, Targets, Workloads};

/// Objects: three that stand under the one name after each other, and one under another name.
pub(crate) const UIDS: [&str; 4] = [
    "aaaaaaaa-0000-4000-8000-000000000001",
    "bbbbbbbb-0000-4000-8000-000000000002",
    "cccccccc-0000-4000-8000-000000000003",
    "dddddddd-0000-4000-8000-000000000004",
];

/// The object under the other name.
pub(crate) const OTHER: usize = 3;

/// The policy's name of an object.
pub(crate) fn policy_name(uid: usize) -> &'static str {
    if uid == OTHER { "other" } else { "stop-all" }
}

/// The name of an engagement: an object and its generation.
pub(crate) type Name = (usize, u64);

pub(crate) fn text((uid, generation): Name) -> String {
    format!("{}-{generation}", &UIDS[uid][..8])
}

/// Whom a policy means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Whom {
    Everybody,
    /// The squad `ai`. It is ordered weakly: workloads are kept, and the mirror runs.
    Ai,
    /// The tenant `acme/lab`, as weakly.
    Lab,
}

/// An agent as it is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Person {
    /// Of the squad `ai`, and known to every pod.
    Ann,
    /// The same agent after its labels were changed.
    AnnRelabelled,
    /// Of the squad `ai`, and known to nobody before.
    Newcomer,
    /// Of the other tenant and no squad, and known to every pod.
    Eve,
}

impl Person {
    pub(crate) const ALL: [Self; 4] = [Self::Ann, Self::AnnRelabelled, Self::Newcomer, Self::Eve];

    /// The agents that a pod knows.
    pub(crate) fn directory(relabelled: bool) -> [Self; 2] {
        [if relabelled { Self::AnnRelabelled } else { Self::Ann }, Self::Eve]
    }

    pub(crate) fn is_meant(self, whom: Whom) -> bool {
        match whom {
            Whom::Everybody => true,
            Whom::Ai => matches!(self, Self::Ann | Self::Newcomer),
            Whom::Lab => self == Self::Eve,
        }
    }

    pub(crate) fn subject(self) -> Subject<'static> {
        static LABELS: LazyLock<[Labels; 2]> =
            LazyLock::new(|| ["ai", "none"].map(|squad| Labels::from([("squad".into(), squad.into())])));
        static TENANTS: LazyLock<[TenantKey; 2]> =
            LazyLock::new(|| ["acme/acme", "acme/lab"].map(|tenant| tenant.parse().unwrap()));
        static AGENTS: LazyLock<[AgentId; 3]> = LazyLock::new(|| {
            [(0, "ann"), (0, "new"), (1, "eve")].map(|(tenant, name)| AgentId::of(&TENANTS[tenant], name))
        });
        let (tenant, agent, labels) = match self {
            Self::Ann => (0, 0, 0),
            Self::AnnRelabelled => (0, 0, 1),
            Self::Newcomer => (0, 1, 0),
            Self::Eve => (1, 2, 1),
        };
        Subject { tenant: &TENANTS[tenant], agent: AGENTS[agent], labels: &LABELS[labels] }
    }
}

/// A policy object as it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Object {
    pub(crate) uid: usize,
    pub(crate) generation: u64,
    pub(crate) stop: bool,
    pub(crate) release: Option<Name>,
    pub(crate) whom: Whom,
}

impl Object {
    pub(crate) const fn new(uid: usize) -> Self {
        Self { uid, generation: 1, stop: false, release: None, whom: Whom::Everybody }
    }

    pub(crate) const fn name(&self) -> Name {
        (self.uid, self.generation)
    }

    pub(crate) fn is_strict(&self) -> bool {
        self.whom == Whom::Everybody
    }

    pub(crate) fn policy(&self) -> Policy {
        let strict = self.is_strict();
        let squad = || Selector { match_labels: Person::Ann.subject().labels.clone(), ..Selector::default() };
        Policy {
            name: policy_name(self.uid).to_owned(),
            uid: UIDS[self.uid].to_owned(),
            generation: self.generation,
            stop: self.stop,
            release: self.release.map(text),
            reason: None,
            targets: match self.whom {
                Whom::Everybody => Targets::default(),
                Whom::Ai => Targets { agents: squad(), ..Targets::default() },
                Whom::Lab => {
                    Targets { tenants: vec![Person::Eve.subject().tenant.clone()], ..Targets::default() }
                }
            },
            workloads: if strict { Workloads::ScaleToZero } else { Workloads::Keep },
            mirror: if strict { Mirror::Pause } else { Mirror::Run },
        }
    }
}

/// All that stands at a moment, of which a full list can be seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct State {
    pub(crate) object: Option<Object>,
    pub(crate) other: Option<Object>,
    /// Whether Ann's labels were changed.
    pub(crate) relabelled: bool,
}

impl State {
    pub(crate) fn objects(&self) -> impl Iterator<Item = Object> {
        self.object.into_iter().chain(self.other)
    }
}
