//! The form of the last good file: what a pod holds as JSON, with a checksum over all of it and the version of each resource.
//!
//! ```json
//! {"format":1,"checksum":"<SHA-256 of what follows>","held":{"role":"gateway","resources":[
//!   {"type":"gateway","tenant":"acme/acme","sha256":"…","content":{…}}]}}
//! ```
//!
//! A file that differs from what was written in a single bit gives an error, and no part of it is used. Where files lie
//! and how they are replaced is the business of whoever writes them.

use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;
use zeroize::Zeroizing;

use super::MAX_ENTRIES;
use super::held::Held;
use super::resource::{Digest, ResourceName, ResourceType, Role};

const FORMAT: u32 = 1;

/// A file that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Damaged {
    /// It is not the JSON that was written. The error quotes nothing: secrets may stand there.
    #[error("it is no such file, at line {line}, column {column}")]
    Form {
        /// Where.
        line: usize,
        /// Where.
        column: usize,
    },
    /// It is of another version of the form.
    #[error("its format is {0} instead of {FORMAT}")]
    Format(u32),
    /// Its content is not what was written.
    #[error("its checksum does not fit")]
    Checksum,
    /// It is another role's.
    #[error("it is of another role")]
    Role,
    /// A resource in it cannot be taken.
    #[error("{name} cannot be taken: {reason}")]
    Resource {
        /// Which.
        name: ResourceName,
        /// Why.
        reason: String,
    },
    /// A resource in it is of a type that it may not hold, or there are too many.
    #[error("it holds what it may not")]
    Surplus,
}

impl From<serde_json::Error> for Damaged {
    fn from(error: serde_json::Error) -> Self {
        Self::Form { line: error.line(), column: error.column() }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File<'a> {
    format: u32,
    checksum: &'a str,
    #[serde(borrow)]
    held: &'a RawValue,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Content<'a> {
    role: Role,
    #[serde(borrow)]
    resources: Vec<Entry<'a>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry<'a> {
    r#type: ResourceType,
    tenant: String,
    sha256: String,
    #[serde(borrow)]
    content: &'a RawValue,
}

/// What is held of these types, as a file.
#[must_use]
pub fn encode(held: &Held, types: &[ResourceType]) -> Zeroizing<Vec<u8>> {
    let kept = || held.taken().filter(|(name, _)| types.contains(&name.kind));
    // Large enough from the start, also with a name and a version each: a buffer that grows leaves copies behind.
    let size: usize = kept().map(|(_, taken)| taken.content().len() + 768).sum();
    let mut content = Zeroizing::new(Vec::with_capacity(size + 256));
    content.extend_from_slice(format!(r#"{{"role":"{}","resources":["#, held.role().name()).as_bytes());
    for (at, (name, taken)) in kept().enumerate() {
        let comma = if at > 0 { "," } else { "" };
        let tenant = serde_json::Value::from(name.tenant.to_string());
        let sha256 = hex::encode(taken.digest().as_bytes());
        let kind = name.kind.name();
        let head = format!(r#"{comma}{{"type":"{kind}","tenant":{tenant},"sha256":"{sha256}","content":"#);
        content.extend_from_slice(head.as_bytes());
        content.extend_from_slice(taken.content());
        content.push(b'}');
    }
    content.extend_from_slice(b"]}");
    let checksum = hex::encode(Digest::of(&content).as_bytes());
    let mut file = Zeroizing::new(Vec::with_capacity(content.len() + 256));
    file.extend_from_slice(format!(r#"{{"format":{FORMAT},"checksum":"{checksum}","held":"#).as_bytes());
    file.extend_from_slice(&content);
    file.push(b'}');
    file
}

/// Adds to `held` what a file of these types gives. Nothing is added when anything is wrong with it.
///
/// # Errors
/// When it is not what [`encode`] wrote for this role and these types.
pub fn restore(held: &mut Held, file: &[u8], types: &[ResourceType]) -> Result<(), Damaged> {
    let file: File<'_> = serde_json::from_slice(file)?;
    if file.format != FORMAT {
        return Err(Damaged::Format(file.format));
    }
    if file.checksum != hex::encode(Digest::of(file.held.get().as_bytes()).as_bytes()) {
        return Err(Damaged::Checksum);
    }
    let content: Content<'_> = serde_json::from_str(file.held.get())?;
    if content.role != held.role() {
        return Err(Damaged::Role);
    }
    if content.resources.len() > MAX_ENTRIES {
        return Err(Damaged::Surplus);
    }
    let mut next = held.clone();
    for Entry { r#type, tenant, sha256, content } in content.resources {
        let tenant = tenant.parse().map_err(|_| Damaged::Surplus)?;
        let name = ResourceName { kind: r#type, tenant };
        if !types.contains(&name.kind) {
            return Err(Damaged::Surplus);
        }
        let sha256 = hex::decode(sha256).map_err(|_| Damaged::Checksum)?;
        let content = Bytes::from_owner(Zeroizing::new(content.get().as_bytes().to_vec()));
        let taken = next.restore(name.clone(), &sha256, content);
        taken.map_err(|reason| Damaged::Resource { name, reason })?;
    }
    *held = next;
    Ok(())
}
