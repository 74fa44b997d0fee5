//! Whether every pod that exists holds exactly what was published of a tenant.

use std::collections::{BTreeMap, BTreeSet};

use nexus_core::id::TenantKey;
use nexus_wire::config::{Digest, Pod, Pods, ResourceName, Role};

use super::Aspect;

/// How many pods are named in a message.
const NAMED: usize = 3;

/// The pods that exist, by role.
pub(crate) type Existing = BTreeMap<Role, BTreeSet<String>>;

/// How far a tenant has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Programmed {
    /// Every pod holds it.
    Everywhere {
        /// How many there are.
        pods: usize,
    },
    /// Pods are about to answer: too early to say anything.
    Underway,
    /// Some pods do not hold it.
    Lacking {
        /// How many do.
        held: usize,
        /// How many there are.
        pods: usize,
        /// Those that do not, some of them.
        missing: Vec<String>,
    },
    /// A pod refuses a part of it.
    Refused {
        /// How many hold all of it.
        held: usize,
        /// How many there are.
        pods: usize,
        /// Which pod, and why.
        why: String,
    },
    /// There is no pod of a role.
    NoPods {
        /// The role.
        role: Role,
        /// How many of the other hold it.
        held: usize,
        /// How many of the other there are.
        pods: usize,
    },
    /// It was not published, for this reason.
    Unpublished {
        /// The reason, for programs.
        reason: &'static str,
        /// The reason, for people.
        why: String,
    },
}

impl Programmed {
    /// What stands in `acknowledged`; none while that stays as it is.
    pub(crate) fn count(&self) -> Option<String> {
        match self {
            Self::Everywhere { pods } => Some(format!("{pods}/{pods}")),
            Self::Lacking { held, pods, .. }
            | Self::Refused { held, pods, .. }
            | Self::NoPods { held, pods, .. } => Some(format!("{held}/{pods}")),
            Self::Underway | Self::Unpublished { .. } => None,
        }
    }

    /// The condition; none while what stands there stays.
    pub(super) fn aspect(&self, generation: Option<i64>) -> Option<Aspect> {
        let aspect = |holds, reason: &str, message: String| {
            Some(Aspect { kind: "Programmed", holds, reason: reason.to_owned(), message, generation })
        };
        match self {
            Self::Underway => None,
            Self::Everywhere { pods } => {
                aspect(true, "Programmed", format!("It is in force in all pods ({pods})."))
            }
            Self::Lacking { held, pods, missing } => aspect(
                false,
                "Pending",
                format!("It is in force in {held} of {pods} pods; awaited: {}.", missing.join(", ")),
            ),
            Self::Refused { why, .. } => aspect(false, "Refused", why.clone()),
            Self::NoPods { role, .. } => aspect(
                false,
                "NoPods",
                format!("There is no pod of {0}: see to the workload nexus-{0}.", role.name()),
            ),
            Self::Unpublished { reason, why } => aspect(false, reason, why.clone()),
        }
    }
}

/// How far a tenant has come. `published` says what every pod of a role must hold; `fresh` whether that changed a moment ago.
pub(crate) fn programmed(
    tenant: &TenantKey,
    published: impl Fn(&ResourceName) -> Option<Digest>,
    existing: &Existing,
    pods: &Pods,
    fresh: bool,
) -> Programmed {
    let (mut held, mut all, mut missing, mut refused) = (0, 0, Vec::new(), None);
    let mut empty = None;
    for role in [Role::Ingest, Role::Gateway] {
        let names: Vec<_> =
            role.types().iter().map(|&kind| ResourceName { kind, tenant: tenant.clone() }).collect();
        let there = existing.get(&role).into_iter().flatten();
        let before = all;
        for name in there {
            all += 1;
            let pod = pods.get(name).filter(|pod| pod.role == role);
            refused = refused.or_else(|| refusal(name, pod?, &names, &published));
            match pod.is_some_and(|pod| holds(pod, &names, &published)) {
                true => held += 1,
                false if missing.len() < NAMED => missing.push(name.clone()),
                false => {}
            }
        }
        if all == before {
            empty = empty.or(Some(role));
        }
    }
    if let Some(why) = refused {
        return Programmed::Refused { held, pods: all, why };
    }
    match (empty, held == all) {
        (Some(role), _) => Programmed::NoPods { role, held, pods: all },
        (None, true) => Programmed::Everywhere { pods: all },
        (None, false) if fresh => Programmed::Underway,
        (None, false) => Programmed::Lacking { held, pods: all, missing },
    }
}

fn holds(pod: &Pod, names: &[ResourceName], published: impl Fn(&ResourceName) -> Option<Digest>) -> bool {
    names.iter().all(|name| pod.held.get(name).copied() == published(name))
}

/// Why a pod refuses something that is published now.
fn refusal(
    pod: &str,
    standing: &Pod,
    names: &[ResourceName],
    published: impl Fn(&ResourceName) -> Option<Digest>,
) -> Option<String> {
    names.iter().find_map(|name| {
        let refused = standing.refused.get(name).filter(|refused| published(name) == Some(refused.digest))?;
        Some(format!(
            "Pod {pod} refuses it and keeps what it had: {}. Mend what is named, or bring pods and operator to one version.",
            refused.reason
        ))
    })
}
