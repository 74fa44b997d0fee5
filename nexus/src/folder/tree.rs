//! A document as a tree of values that know their places.
//!
//! It has no `Debug`, as it may be of a Secret.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_saphyr::{Error, Location, MessageFormatter as _, Spanned, UserMessageFormatter};

use super::document;
use super::problem::{Fault, Position, ProblemKind};

/// A value and where it stands.
#[derive(Clone)]
pub(super) struct Node {
    pub(super) at: Position,
    pub(super) value: Value,
}

/// A value.
#[derive(Clone)]
pub(super) enum Value {
    Null,
    Bool(bool),
    Int(i64),
    Uint(u64),
    Float(f64),
    Text(String),
    List(Vec<Node>),
    Map(Vec<Entry>),
}

/// A key with its value.
#[derive(Clone)]
pub(super) struct Entry {
    pub(super) key: String,
    pub(super) at: Position,
    pub(super) value: Node,
}

impl Node {
    /// The value under a key; `null` counts as none, as it does for an API server.
    pub(super) fn get(&self, key: &str) -> Option<&Self> {
        self.entries().find(|entry| entry.key == key).map(|entry| &entry.value)
    }

    /// The entries of a mapping but for those that are `null`; none of anything else.
    pub(super) fn entries(&self) -> impl Iterator<Item = &Entry> {
        let list = match &self.value {
            Value::Map(entries) => entries.as_slice(),
            _ => &[],
        };
        list.iter().filter(|entry| !matches!(entry.value.value, Value::Null))
    }

    /// The text, if it is one.
    pub(super) fn text(&self) -> Option<&str> {
        match &self.value {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }
}

/// Parses one document. Whether the error may repeat what stands in it depends on what it is: see
/// [`may_be_quoted`].
pub(super) fn parse(text: &str) -> Result<Node, Fault> {
    serde_saphyr::from_str_with_options::<Node>(text, options()).map_err(|error| {
        let mut error = error.without_snippet();
        let at = error.location().filter(|at| *at != Location::UNKNOWN);
        while let Error::AliasError { error: cause, .. } = error {
            error = cause;
        }
        let fault = if may_be_quoted(text) { quoting(error) } else { silent(error) };
        fault.place("", at.map_or(Position { line: 1, column: 1 }, position))
    })
}

/// Bounds that no honest document comes near and that an alias bomb meets at once.
fn options() -> serde_saphyr::Options {
    serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_depth: 32,
            max_nodes: 100_000,
            max_events: 300_000,
            max_aliases: 1_000,
            max_anchors: 1_000,
            max_documents: 1,
        },
        alias_limits: serde_saphyr::alias_limits! {
            max_total_replayed_events: 100_000,
            max_replay_stack_depth: 16,
        },
        with_snippet: false,
    }
}

/// Whether errors may repeat parts of a document that could not be parsed: only if one of its lines says that
/// it is one of ours, and none that it might be a Secret.
fn may_be_quoted(text: &str) -> bool {
    let ours = ["Tenant", "AgentProfile", "NexusPolicy"];
    let kind = |line: &str| line.strip_prefix("kind:").map(|kind| kind.trim().to_owned());
    let mut kinds = document::lines_of(text).filter_map(kind).peekable();
    kinds.peek().is_some() && kinds.all(|kind| ours.contains(&kind.as_str()))
}

const MEND: &str = "check the indentation, the quotes and the brackets before this place";

fn quoting(error: &Error) -> Fault {
    if let Error::DuplicateMappingKey { key: Some(key), .. } = error {
        return duplicate_key(&format!("the key `{}`", key.escape_debug()));
    }
    if let Some(fault) = known(error) {
        return fault;
    }
    let message = UserMessageFormatter.format_message(error);
    Fault::new(ProblemKind::InvalidYaml, format!("this is no valid YAML: {}", message.escape_debug()), MEND)
}

fn silent(error: &Error) -> Fault {
    known(error).unwrap_or_else(|| Fault::new(ProblemKind::InvalidYaml, "this is no valid YAML", MEND))
}

/// Errors with words of our own, which repeat nothing.
fn known(error: &Error) -> Option<Fault> {
    Some(match error {
        Error::DuplicateMappingKey { .. } => duplicate_key("a key"),
        Error::Budget { .. }
        | Error::AliasReplayLimitExceeded { .. }
        | Error::AliasExpansionLimitExceeded { .. }
        | Error::AliasReplayStackDepthExceeded { .. } => Fault::new(
            ProblemKind::TooLarge,
            "the document is too deep, too large or repeats too much by aliases (`*name`)",
            "split it or write it out",
        ),
        Error::Eof { .. } => Fault::new(ProblemKind::InvalidYaml, "it ends too early", "complete it"),
        Error::MultipleDocuments { .. } => Fault::new(
            ProblemKind::InvalidYaml,
            "another document begins here without `---`",
            "put a line `---` before it",
        ),
        _ => return None,
    })
}

fn duplicate_key(which: &str) -> Fault {
    Fault::new(
        ProblemKind::DuplicateKey,
        format!("{which} stands twice in one mapping"),
        "take one of them out",
    )
}

fn position(at: Location) -> Position {
    Position { line: at.line().max(1), column: at.column().max(1) }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let spanned = Spanned::<Value>::deserialize(deserializer)?;
        Ok(Self { at: position(spanned.referenced), value: spanned.value })
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ValueVisitor)
    }
}

struct ValueVisitor;

impl<'de> Visitor<'de> for ValueVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Int(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Uint(value))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Value::Float(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::Text(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::Text(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(node) = seq.next_element()? {
            list.push(node);
        }
        Ok(Value::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut entries: Vec<Entry> = Vec::new();
        while let Some(key) = map.next_key::<Spanned<String>>()? {
            let value = map.next_value()?;
            // Keys of two spellings, such as `1` and `"1"`, are one key for us.
            if entries.iter().any(|entry| entry.key == key.value) {
                return Err(A::Error::custom("a key stands twice"));
            }
            entries.push(Entry { key: key.value, at: position(key.referenced), value });
        }
        Ok(Value::Map(entries))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn broken(text: &str) -> (ProblemKind, Option<Position>, String) {
        let fault = parse(text).err().unwrap();
        (fault.kind, fault.at, fault.what)
    }

    fn at(line: u64, column: u64) -> Option<Position> {
        Some(Position { line, column })
    }

    #[test]
    fn values_and_keys_know_their_places() {
        let tree = parse("---\na: 1\nb:\n  - x: text\n    'y z': {n: null}\n").ok().unwrap();
        let Value::List(list) = &tree.get("b").unwrap().value else { panic!("no list") };
        let entries: Vec<_> = list[0].entries().map(|entry| (entry.key.as_str(), entry.at)).collect();
        assert_eq!(
            entries,
            [("x", Position { line: 4, column: 5 }), ("y z", Position { line: 5, column: 5 })]
        );
        assert_eq!(list[0].get("x").unwrap().at, Position { line: 4, column: 8 });
        assert!(list[0].get("y z").unwrap().get("n").is_none());
        assert_eq!(list[0].get("x").unwrap().text(), Some("text"));
    }

    #[test]
    fn broken_documents_say_where() {
        let (kind, place, what) = broken("kind: Tenant\na: 1\na: 2\n");
        assert_eq!((kind, place), (ProblemKind::DuplicateKey, at(3, 1)));
        assert_eq!(what, "the key `a` stands twice in one mapping");
        assert_eq!(broken("kind: Tenant\na: [1, 2\n").0, ProblemKind::InvalidYaml);
        assert_eq!(broken("kind: Tenant\n  b: 2\n").1, at(2, 4));
    }

    #[test]
    fn what_may_be_a_secret_is_never_repeated() {
        for text in [
            "kind: Secret\nstringData:\n  hunter2: a\n  hunter2: b\n",
            "stringData: {k: *hunter2}\n",
            "kind: Tenant\nx: *hunter2\n---\nkind: Secret",
            "kind: Tenant\nx: 1\rkind: Secret\nx: *hunter2\n",
            "kind: \"Secret\"\nstringData: {k: \"\\hunter2\"}\n",
        ] {
            let (_, _, what) = broken(text);
            assert!(!what.contains("hunter2"), "{what}");
        }
    }

    #[test]
    fn an_alias_bomb_meets_its_bounds() {
        let mut bomb = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
        for level in 1..12 {
            let items = vec![format!("*a{}", level - 1); 10].join(", ");
            bomb += &format!("a{level}: &a{level} [{items}]\n");
        }
        assert_eq!(broken(&bomb).0, ProblemKind::TooLarge);
        assert_eq!(broken(&"[".repeat(10_000)).0, ProblemKind::InvalidYaml);
        assert_eq!(
            broken(&("a: ".to_owned() + &"[".repeat(100) + &"]".repeat(100))).0,
            ProblemKind::TooLarge
        );
    }
}
