//! What processes tell each other of the stops that they hold, and what one makes of it.
//!
//! What is heard can come late, twice, in any order or never, from a process that has not yet seen a release that was
//! seen here. So it only engages and widens, and what was released here by the same uid and up to that generation is
//! not engaged again. Nothing that is not there says anything.

use serde::{Deserialize, Serialize};

use super::{Engagement, Latch, Merged, Policy, Subject, Targets};

/// Stops that are taken by the word of others alone. Each gateway may tell of its own object of a policy.
pub const MAX_TOLD_STOPS: usize = 256;

/// The longest that one stop is told in, and read of.
pub const MAX_TOLD_BYTES: usize = 256 * 1024;

/// The version of what is told.
const VERSION: u32 = 1;

/// The longest name and uid, as Kubernetes bounds them.
const LONGEST_NAME: usize = 253;

/// Above this a generation would lose digits on its way, for it is compared as a float there.
const HIGHEST_GENERATION: u64 = 1 << 53;

/// Releases that are remembered; a forgotten one can only make something stop.
const MAX_RELEASED: usize = 256;

/// Why what was told cannot be taken in.
#[derive(Debug, thiserror::Error)]
pub enum ToldError {
    /// It is longer than what anybody tells.
    #[error("it is longer than {MAX_TOLD_BYTES} bytes")]
    TooLong,
    /// It cannot be read.
    #[error("it is no JSON of a stop")]
    Json(#[source] serde_json::Error),
    /// Another version than this one's.
    #[error("its version is {0}, and {VERSION} is known here")]
    Version(u32),
    /// It cannot be of a stop.
    #[error("{0}")]
    Implausible(&'static str),
}

/// A released engagement.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Released {
    pub(super) uid: String,
    /// The highest generation that was released.
    pub(super) generation: u64,
}

/// A stop as it is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told(Engagement);

#[derive(Serialize)]
struct Written<'a> {
    version: u32,
    engagement: &'a Engagement,
}

#[derive(Deserialize)]
struct Version {
    version: u32,
}

#[derive(Deserialize)]
struct Read {
    engagement: Engagement,
}

/// What hearing changed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Heard {
    /// What it changed in the latch.
    pub merged: Merged,
    /// Stops that were left out, because so many are known by the word of others alone.
    pub surplus: usize,
}

impl Told {
    /// An engagement as it is told. What is too much to tell stops more, not less: many scopes become everybody. Of
    /// more agents than fit none is named: whoever hears binds those whom the scopes mean.
    #[must_use]
    pub fn of(engagement: &Engagement) -> Self {
        let mut told = Self(Engagement { heard: false, ..engagement.clone() });
        if told.0.everybody() || !told.fits() {
            told.0.agents.clear();
        }
        if !told.fits() {
            told.0.scopes = vec![Targets::default()];
        }
        if !told.fits() {
            told.0.reason = None;
        }
        told
    }

    /// Reads what was told of the policy with this uid.
    ///
    /// # Errors
    /// When it cannot be taken in. It says nothing then, neither that something is engaged nor that it is not.
    pub fn parse(uid: &str, text: &str) -> Result<Self, ToldError> {
        if text.len() > MAX_TOLD_BYTES {
            return Err(ToldError::TooLong);
        }
        let Version { version } = serde_json::from_str(text).map_err(ToldError::Json)?;
        if version != VERSION {
            return Err(ToldError::Version(version));
        }
        let Read { engagement } = serde_json::from_str(text).map_err(ToldError::Json)?;
        let plausible = |holds: bool, what| if holds { Ok(()) } else { Err(ToldError::Implausible(what)) };
        let is_uid = |uid: &str| {
            (1..=LONGEST_NAME).contains(&uid.len())
                && uid.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '-')
        };
        plausible(engagement.uid == uid, "it is of another uid than the one that it is told under")?;
        plausible(is_uid(uid), "its uid is none")?;
        plausible((1..=LONGEST_NAME).contains(&engagement.policy.len()), "its policy's name is none")?;
        plausible(engagement.generation <= HIGHEST_GENERATION, "its generation is beyond all generations")?;
        plausible(!engagement.scopes.is_empty(), "it means nobody")?;
        Ok(Self(Engagement { heard: false, ..engagement }))
    }

    /// How it is written.
    #[must_use]
    pub fn to_json(&self) -> String {
        let written = Written { version: VERSION, engagement: &self.0 };
        serde_json::to_string(&written).expect("names, numbers and lists are JSON")
    }

    /// The uid of its policy.
    #[must_use]
    pub fn uid(&self) -> &str {
        &self.0.uid
    }

    /// The generation at which it was ordered last.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.0.generation
    }

    /// Whether whoever hears this learns nothing from `other`.
    #[must_use]
    pub fn says(&self, other: &Self) -> bool {
        let (own, other) = (&self.0, &other.0);
        own.generation >= other.generation
            && own.workloads >= other.workloads
            && own.mirror >= other.mirror
            && (own.everybody()
                || other.scopes.iter().all(|scope| own.scopes.contains(scope))
                    && other.agents.is_subset(&own.agents))
    }

    fn fits(&self) -> bool {
        self.to_json().len() <= MAX_TOLD_BYTES
    }
}

impl Engagement {
    /// Widens the engagement by what others tell of it.
    fn join(&mut self, told: &Self) {
        if told.generation > self.generation {
            self.generation = told.generation;
            self.reason = told.reason.clone().or_else(|| self.reason.take());
            // What stood there when the later stop was ordered. Of the same stop only a look tells that it is gone.
            self.stale_release = told.stale_release.clone().or_else(|| self.stale_release.take());
        }
        self.workloads = self.workloads.max(told.workloads);
        self.mirror = self.mirror.max(told.mirror);
        told.scopes.iter().for_each(|scope| self.reach(scope));
        self.agents.extend(&told.agents);
    }
}

impl Latch {
    /// Takes in what others tell of stops that they hold. It engages and widens, and never releases or narrows.
    ///
    /// `look` is the last full list of the policies, while it is fresh: what it releases is not engaged first, and counts
    /// as released here. That a latch has heard something does not make it known.
    pub fn hear<'a>(
        &mut self,
        told: &[Told],
        look: Option<&[Policy]>,
        directory: impl IntoIterator<Item = Subject<'a>>,
    ) -> Heard {
        let before = self.clone();
        let mut heard = Heard::default();
        for Told(told) in told {
            if self.released_upto(&told.uid).is_some_and(|upto| told.generation <= upto) {
                continue;
            }
            if let Some(engagement) = self.engagements.get_mut(&told.uid) {
                engagement.join(told);
            } else if let Some(upto) = look.and_then(|policies| released_in(told, policies)) {
                self.mark(Released { uid: told.uid.clone(), generation: upto });
            } else if self.engagements.values().filter(|engagement| engagement.heard).count()
                >= MAX_TOLD_STOPS
            {
                heard.surplus += 1;
            } else {
                let mut engagement = Engagement { heard: true, scopes: Vec::new(), ..told.clone() };
                told.scopes.iter().for_each(|scope| engagement.reach(scope));
                heard.merged.engaged.push(engagement.name());
                self.engagements.insert(told.uid.clone(), engagement);
            }
        }
        self.remember(directory);
        heard.merged.changed = *self != before;
        heard
    }

    /// Up to which generation stops of this policy were released here, as far as that is remembered.
    #[must_use]
    pub fn released_upto(&self, uid: &str) -> Option<u64> {
        self.released.iter().find(|mark| mark.uid == uid).map(|mark| mark.generation)
    }

    /// Remembers a release.
    pub(super) fn mark(&mut self, mark: Released) {
        let known = self.released_upto(&mark.uid).unwrap_or_default();
        self.released.retain(|other| other.uid != mark.uid);
        self.released.push(Released { generation: mark.generation.max(known), ..mark });
        let surplus = self.released.len().saturating_sub(MAX_RELEASED);
        self.released.drain(..surplus);
    }
}

/// Up to which generation the policies as they stand release a stop that is told of.
fn released_in(told: &Engagement, policies: &[Policy]) -> Option<u64> {
    // A stop that stands there is seen, and is not for others to tell.
    let mut standing = policies.iter().filter(|policy| !policy.stop);
    standing.find_map(|policy| told.clone().released_by(policy))
}

#[cfg(test)]
#[path = "told_tests.rs"]
mod tests;
