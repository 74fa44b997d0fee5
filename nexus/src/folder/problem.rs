//! What is wrong in the folder, and where. Nothing here ever carries the content of a Secret.

use std::fmt;
use std::path::{Path, PathBuf};

/// A place in a file, both parts counted from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// The line.
    pub line: u64,
    /// The character within the line.
    pub column: u64,
}

/// Kinds of problem; the name is stable, for metrics and tests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ProblemKind {
    /// A file or folder cannot be read.
    Unreadable,
    /// A file or the folder holds more than is read.
    TooLarge,
    /// A file holds no document at all.
    Empty,
    /// A document is no YAML.
    InvalidYaml,
    /// A key stands twice in one mapping.
    DuplicateKey,
    /// A field that there is not.
    UnknownField,
    /// A field that must be there is not.
    MissingField,
    /// A value of another type than the field's.
    WrongType,
    /// A value that the field cannot have.
    BadValue,
    /// A value out of the schema's bounds.
    OutOfBounds,
    /// Another object stands in the folder under the same name.
    DuplicateObject,
}

/// Something that must be mended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Its kind.
    pub kind: ProblemKind,
    /// The file, seen from the folder.
    pub file: PathBuf,
    /// Where in the file.
    pub at: Option<Position>,
    /// The field, such as `spec.sources[0].secretRef.key`; empty for the whole.
    pub path: String,
    /// What is wrong.
    pub what: String,
    /// How to mend it.
    pub remedy: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file.display())?;
        if let Some(Position { line, column }) = self.at {
            write!(f, ":{line}:{column}")?;
        }
        if !self.path.is_empty() {
            write!(f, ": {}", self.path)?;
        }
        write!(f, ": {}; {}", self.what, self.remedy)
    }
}

/// Something that is not read and need not be mended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// The file, seen from the folder.
    pub file: PathBuf,
    /// The line where it begins.
    pub line: Option<u64>,
    /// What is not read, and why.
    pub what: String,
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file.display())?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        write!(f, ": {}", self.what)
    }
}

/// A problem within one document: its file and the document's place are added when they are known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) kind: ProblemKind,
    pub(super) at: Option<Position>,
    pub(super) path: String,
    pub(super) what: String,
    pub(super) remedy: String,
}

impl Fault {
    pub(super) fn new(kind: ProblemKind, what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { kind, at: None, path: String::new(), what: what.into(), remedy: remedy.into() }
    }

    /// Says where; a place that is known already is the more exact one and stays.
    pub(super) fn place(mut self, path: &str, at: Position) -> Self {
        if self.at.is_none() {
            self.at = Some(at);
            self.path = match (path, self.path.as_str()) {
                (path, "") => path.to_owned(),
                ("", field) => field.to_owned(),
                (path, field) => format!("{path}.{field}"),
            };
        }
        self
    }

    /// The problem, in a document that begins after `lines` lines of a file.
    pub(super) fn into_problem(self, file: &Path, lines: u64) -> Problem {
        let Self { kind, at, path, what, remedy } = self;
        let at = at.map(|at| Position { line: at.line + lines, column: at.column });
        Problem { kind, file: file.to_owned(), at, path, what, remedy }
    }
}
