//! One file, parsed: what each of its documents comes to.

use std::fmt;
use std::path::Path;

use sha2::{Digest as _, Sha256};

use super::document::{self, Document};
use super::object::{self, Outcome};
use super::tree;

/// What a file holds.
#[derive(Debug)]
pub(super) enum Documents {
    /// No UTF-8 text.
    NoText,
    /// Nothing: an editor may empty a file just before it writes it.
    Empty,
    /// These.
    Some(Vec<Parse>),
}

/// What a document comes to.
#[derive(Debug)]
pub(super) struct Parse {
    /// How many lines of the file stand before it.
    pub(super) lines: u64,
    /// The line of the file where its content begins.
    pub(super) line: u64,
    pub(super) outcome: Outcome,
}

/// A file's documents. It depends on nothing but the name and the content.
pub(super) struct Parsed {
    digest: [u8; 32],
    pub(super) documents: Documents,
    /// Whether all of its documents were parsed.
    pub(super) whole: bool,
}

impl fmt::Debug for Parsed {
    /// Without the digest, as it may be of a Secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Parsed").field("documents", &self.documents).finish_non_exhaustive()
    }
}

impl Parsed {
    /// Parses a file, but no more than so many documents.
    pub(super) fn parse(path: &Path, bytes: &[u8], room: usize) -> Self {
        let digest = Sha256::digest(bytes).into();
        let Ok(text) = std::str::from_utf8(bytes) else {
            return Self { digest, documents: Documents::NoText, whole: true };
        };
        let split: Vec<_> = if path.extension().is_some_and(|extension| extension == "json") {
            vec![Document { lines: 0, text }]
        } else {
            document::split(text).take(room + 1).collect()
        };
        let documents = if split.is_empty() || text.trim().is_empty() {
            Documents::Empty
        } else {
            Documents::Some(split.iter().take(room).map(parse).collect())
        };
        Self { digest, documents, whole: split.len() <= room }
    }

    /// Whether these are the documents of this content.
    pub(super) fn is_of(&self, bytes: &[u8]) -> bool {
        self.digest[..] == Sha256::digest(bytes)[..]
    }

    /// How many documents there are.
    pub(super) fn len(&self) -> usize {
        match &self.documents {
            Documents::Some(documents) => documents.len(),
            Documents::NoText | Documents::Empty => 0,
        }
    }
}

fn parse(document: &Document<'_>) -> Parse {
    let (outcome, line) = match tree::parse(document.text) {
        Ok(tree) => (object::read(&tree), tree.at.line + document.lines),
        Err(fault) => (Outcome::Broken(None, vec![fault]), document.lines + 1),
    };
    Parse { lines: document.lines, line, outcome }
}
