//! What is kept of policies, and its file.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use nexus_crds::NexusPolicySpec;
use nexus_runtime::file;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use super::PolicyError;

/// The format of the file that this version writes and reads.
const FORMAT: u32 = 2;

/// All that is kept.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct State {
    /// By the policy's name.
    pub(super) policies: BTreeMap<String, Record>,
}

/// The file: what is kept, as it was written, and what it must hash to. It is told apart from other formats
/// before anything else is asked of it.
#[derive(Serialize, Deserialize)]
struct StateFile {
    format: u32,
    #[serde(default)]
    checksum: String,
    policies: Box<RawValue>,
}

/// What is kept of one policy.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Record {
    /// Its uid.
    pub(super) uid: Uuid,
    /// Its generation: raised by every change of `effective`.
    pub(super) generation: u64,
    /// What its file says, or said last.
    pub(super) base: NexusPolicySpec,
    /// Whether a file says it now.
    pub(super) from_file: bool,
    /// What was patched.
    overlay: Overlay,
    /// The file's spec with the patch on top.
    pub(super) effective: NexusPolicySpec,
}

/// Fields that lie on top of a file's.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Overlay {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) stop: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) release: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) reason: Option<String>,
}

impl Record {
    /// The policy of a file that is seen for the first time.
    pub(super) fn of_file(base: &NexusPolicySpec) -> Self {
        Self::new(base.clone(), true, Overlay::default())
    }

    /// A policy that no file defines.
    pub(super) fn of_patch(overlay: Overlay) -> Self {
        Self::new(NexusPolicySpec::default(), false, overlay)
    }

    fn new(base: NexusPolicySpec, from_file: bool, overlay: Overlay) -> Self {
        let effective = overlay.over(&base);
        Self { uid: Uuid::new_v4(), generation: 1, base, from_file, overlay, effective }
    }

    /// Whether the policy is still there when no file defines it: a patch made it, or a patched stop stands.
    pub(super) fn outlives_its_file(&self) -> bool {
        !self.from_file || self.overlay.stop == Some(true)
    }

    /// Takes in what the file says. An edit is the last word on what it edits, but never takes back a stop
    /// that was patched.
    pub(super) fn take_file(&mut self, base: &NexusPolicySpec) {
        if *base != self.base && self.overlay.stop != Some(true) {
            self.overlay = Overlay::default();
        }
        self.base = base.clone();
        self.renew();
    }

    /// Patches.
    pub(super) fn patch(&mut self, overlay: Overlay) {
        self.overlay = overlay;
        self.renew();
    }

    fn renew(&mut self) {
        let effective = self.overlay.over(&self.base);
        if effective != self.effective {
            self.effective = effective;
            self.generation += 1;
        }
    }
}

impl Overlay {
    fn over(&self, base: &NexusPolicySpec) -> NexusPolicySpec {
        let mut spec = base.clone();
        let Self { stop, release, reason } = self;
        spec.stop = stop.or(spec.stop);
        spec.reason = reason.clone().or(spec.reason);
        // A release that a file left from an older stop would only confuse under a new one.
        spec.release = match stop {
            Some(true) => None,
            _ => release.clone().or(spec.release),
        };
        spec
    }
}

impl State {
    pub(super) fn read(path: &Path) -> Result<Self, PolicyError> {
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(source) => {
                return Err(PolicyError::Read { path: path.to_owned(), source });
            }
        };
        let damaged = |what: String| PolicyError::Damaged { path: path.to_owned(), what };
        let file: StateFile = serde_json::from_str(&text).map_err(|error| damaged(error.to_string()))?;
        if file.format != FORMAT {
            return Err(damaged(format!("format {} instead of {FORMAT}", file.format)));
        }
        let json = file.policies.get();
        if file.checksum != checksum(json) {
            return Err(damaged("its checksum does not fit".to_owned()));
        }
        let policies = serde_json::from_str(json).map_err(|error| damaged(error.to_string()))?;
        Ok(Self { policies })
    }

    pub(super) fn write(&self, path: &Path) -> Result<(), PolicyError> {
        let fail = |source: io::Error| PolicyError::Write { path: path.to_owned(), source };
        let policies = serde_json::value::to_raw_value(&self.policies).map_err(|error| fail(error.into()))?;
        let file = StateFile { format: FORMAT, checksum: checksum(policies.get()), policies };
        let json = serde_json::to_vec(&file).map_err(|error| fail(error.into()))?;
        file::replace(path, &json).map_err(fail)
    }
}

fn checksum(json: &str) -> String {
    hex::encode(Sha256::digest(json.as_bytes()))
}
