//! Lenient decoding: a field that is missing, null or of another type than the documents say is an absent
//! field, never a lost event.
//!
//! Numbers keep their digits: ids beyond 64 bits and Slack's timestamps are taken as they are written.

mod counted;

use std::borrow::Cow;
use std::cell::Cell;
use std::fmt;
use std::marker::PhantomData;

use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use self::counted::Counted;
use super::Malformed;

/// The longest text that is taken for an id, a name or an address.
pub(crate) const MAX_WORD: usize = 2048;

/// The most elements of one array that are looked at; more than any provider sends.
const MAX_LIST: usize = 4096;

/// The most objects and list elements that one body is decoded to; some megabytes of memory.
const MAX_NODES: usize = 20_000;

/// The longest body that is rewritten if it has a key twice, which takes many times its length.
const MAX_MENDED: usize = 1 << 20;

/// The visits of everything that is neither an object nor an array.
macro_rules! scalars {
    ($value:expr) => {
        fn visit_str<E: Error>(self, _: &str) -> Result<Self::Value, E> {
            Ok($value)
        }

        fn visit_u64<E: Error>(self, _: u64) -> Result<Self::Value, E> {
            Ok($value)
        }

        fn visit_i64<E: Error>(self, _: i64) -> Result<Self::Value, E> {
            Ok($value)
        }

        fn visit_f64<E: Error>(self, _: f64) -> Result<Self::Value, E> {
            Ok($value)
        }

        fn visit_bool<E: Error>(self, _: bool) -> Result<Self::Value, E> {
            Ok($value)
        }

        fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
            Ok($value)
        }
    };
}

/// Decodes a body; an unexpected shape gives the empty body. `mended` only lends its memory.
///
/// Valid JSON that the fast path cannot take (a key that stands there twice) is rewritten and tried again.
pub(super) fn decode<'a, T>(json: &'a str, mended: &'a mut String) -> Result<T, Malformed>
where
    T: Deserialize<'a> + Default,
{
    if let Ok(body) = bounded(json) {
        return Ok(body.unwrap_or_default());
    }
    serde_json::from_str::<IgnoredAny>(json)
        .map_err(|source| Malformed::NotJson { line: source.line(), column: source.column() })?;
    if json.len() > MAX_MENDED {
        return Ok(T::default());
    }
    let value = serde_json::from_str::<serde_json::Value>(json).unwrap_or_default();
    *mended = value.to_string();
    Ok(bounded(mended).ok().flatten().unwrap_or_default())
}

/// Decodes at most [`MAX_NODES`] objects and elements; beyond, lists end and objects are absent.
fn bounded<'a, T: Deserialize<'a>>(json: &'a str) -> Result<Option<T>, serde_json::Error> {
    let mut deserializer = serde_json::Deserializer::from_str(json);
    let left = Cell::new(MAX_NODES);
    let counted = Counted { of: &mut deserializer, left: &left };
    let body = Maybe::deserialize(counted)?;
    deserializer.end()?;
    Ok(body.take())
}

/// A string, or a number as it is written; anything else is absent.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Text<'a>(Option<Cow<'a, str>>);

impl<'a> Text<'a> {
    /// The text, unless it is absent or empty.
    pub(crate) fn text(&self) -> Option<&str> {
        self.0.as_deref().filter(|text| !text.is_empty())
    }

    /// The text if it may be an id, a name or an address: not empty and not longer than [`MAX_WORD`].
    pub(crate) fn word(&self) -> Option<&str> {
        self.text().filter(|text| text.len() <= MAX_WORD)
    }

    /// [`Text::word`], owned.
    pub(crate) fn owned(&self) -> Option<String> {
        self.word().map(str::to_owned)
    }

    /// The whole number that the text is.
    pub(crate) fn number<N: std::str::FromStr>(&self) -> Option<N> {
        self.text()?.parse().ok()
    }

    /// Whether it is this very text.
    pub(crate) fn is(&self, text: &str) -> bool {
        self.0.as_deref() == Some(text)
    }

    fn of(raw: &'a str) -> Self {
        Self(match raw.as_bytes().first() {
            Some(b'"') => unquote(raw),
            Some(b'-' | b'0'..=b'9') => Some(Cow::Borrowed(raw)),
            _ => None,
        })
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        <&'de RawValue>::deserialize(deserializer).map(|raw| Self::of(raw.get()))
    }
}

/// The content of a JSON string. Half of a surrogate pair, which JavaScript can send, becomes U+FFFD.
fn unquote(raw: &str) -> Option<Cow<'_, str>> {
    let inner = raw.get(1..raw.len().checked_sub(1)?)?;
    if !inner.contains('\\') {
        return Some(Cow::Borrowed(inner));
    }
    if let Ok(text) = serde_json::from_str::<String>(raw) {
        return Some(Cow::Owned(text));
    }
    let Bytes(bytes) = serde_json::from_str(raw).ok()?;
    Some(Cow::Owned(String::from_utf8_lossy(&bytes).into_owned()))
}

/// The bytes of a JSON string, which serde_json gives even where they are no UTF-8.
struct Bytes(Vec<u8>);

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Take;
        impl Visitor<'_> for Take {
            type Value = Bytes;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }

            fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<Bytes, E> {
                Ok(Bytes(bytes.to_vec()))
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Bytes, E> {
                Ok(Bytes(text.as_bytes().to_vec()))
            }
        }
        deserializer.deserialize_bytes(Take)
    }
}

/// Yes or no; `1`, `"true"` and the like count, anything else is absent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Flag(pub(crate) Option<bool>);

impl Flag {
    /// Whether it is there and says yes.
    pub(crate) fn yes(self) -> bool {
        self.0 == Some(true)
    }
}

impl<'de> Deserialize<'de> for Flag {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = <&'de RawValue>::deserialize(deserializer)?;
        Ok(Self(match raw.get().trim_matches('"') {
            "true" | "1" => Some(true),
            "false" | "0" => Some(false),
            _ => None,
        }))
    }
}

/// An object; anything else is absent. Boxed, so that a body with dozens of them, most of which are absent,
/// stays small to move.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Maybe<T>(Option<Box<T>>);

impl<T> Default for Maybe<T> {
    fn default() -> Self {
        Self(None)
    }
}

impl<T> Maybe<T> {
    /// The object.
    pub(crate) fn get(&self) -> Option<&T> {
        self.0.as_deref()
    }

    /// The object, owned.
    pub(crate) fn take(self) -> Option<T> {
        self.0.map(|object| *object)
    }

    /// Whether it is there.
    pub(crate) fn is_some(&self) -> bool {
        self.0.is_some()
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Maybe<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for Object<T> {
            type Value = Option<Box<T>>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("anything")
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
                T::deserialize(MapAccessDeserializer::new(map)).map(|object| Some(Box::new(object)))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<Self::Value, A::Error> {
                drain(seq).map(|()| None)
            }

            scalars!(None);
        }
        deserializer.deserialize_any(Object(PhantomData)).map(Self)
    }
}

/// An array; an object stands for an array of one, anything else for an empty array.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct List<T>(pub(crate) Vec<T>);

impl<T> Default for List<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T> List<Maybe<T>> {
    /// The elements that are objects.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        self.0.iter().filter_map(Maybe::get)
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for List<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Elements<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for Elements<T> {
            type Value = Vec<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("anything")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<Vec<T>, A::Error> {
                elements(seq)
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Vec<T>, A::Error> {
                T::deserialize(MapAccessDeserializer::new(map)).map(|one| vec![one])
            }

            scalars!(Vec::new());
        }
        deserializer.deserialize_any(Elements(PhantomData)).map(Self)
    }
}

/// The members of an object that a provider names freely, in their order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entries<'a, T>(pub(crate) Vec<(Cow<'a, str>, T)>);

impl<T> Default for Entries<'_, T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<'de: 'a, 'a, T: Deserialize<'de>> Deserialize<'de> for Entries<'a, T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for Members<T> {
            type Value = Vec<(Cow<'de, str>, T)>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("anything")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some((key, value)) = map.next_entry::<Key<'de>, T>()? {
                    if members.len() < MAX_LIST {
                        members.push((key.0, value));
                    }
                }
                Ok(members)
            }

            fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<Self::Value, A::Error> {
                drain(seq).map(|()| Vec::new())
            }

            scalars!(Vec::new());
        }
        deserializer.deserialize_any(Members(PhantomData)).map(Self)
    }
}

/// A member's name; borrowed where it has no escapes.
#[derive(Deserialize)]
struct Key<'a>(#[serde(borrow)] Cow<'a, str>);

/// A value whose type differs from case to case: an object, an array of them, or one word.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) enum Read<'a, T> {
    /// An object.
    Object(T),
    /// An array; what is no object in it is left out.
    List(Vec<T>),
    /// A string or a number.
    Word(Cow<'a, str>),
    /// Absent, null, or a truth value.
    #[default]
    Other,
}

impl<'de: 'a, 'a, T: Deserialize<'de>> Deserialize<'de> for Read<'a, T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Shape(PhantomData))
    }
}

struct Shape<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for Shape<T> {
    type Value = Read<'de, T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("anything")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
        T::deserialize(MapAccessDeserializer::new(map)).map(Read::Object)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<Self::Value, A::Error> {
        let objects = elements::<Maybe<T>, A>(seq)?;
        Ok(Read::List(objects.into_iter().filter_map(Maybe::take).collect()))
    }

    fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Read::Word(Cow::Borrowed(text)))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Read::Word(Cow::Owned(text.to_owned())))
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Self::Value, E> {
        Ok(Read::Word(Cow::Owned(number.to_string())))
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Self::Value, E> {
        Ok(Read::Word(Cow::Owned(number.to_string())))
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<Self::Value, E> {
        Ok(Read::Word(Cow::Owned(number.to_string())))
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<Self::Value, E> {
        Ok(Read::Other)
    }

    fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
        Ok(Read::Other)
    }
}

/// The first [`MAX_LIST`] elements; the rest is read over, so that a hostile array costs no memory.
fn elements<'de, T: Deserialize<'de>, A: SeqAccess<'de>>(mut seq: A) -> Result<Vec<T>, A::Error> {
    let mut list = Vec::new();
    while list.len() < MAX_LIST {
        match seq.next_element()? {
            Some(element) => list.push(element),
            None => return Ok(list),
        }
    }
    drain(seq).map(|()| list)
}

fn drain<'de, A: SeqAccess<'de>>(mut seq: A) -> Result<(), A::Error> {
    while seq.next_element::<IgnoredAny>()?.is_some() {}
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Default, PartialEq, Deserialize)]
    #[serde(default)]
    struct Body<'a> {
        #[serde(borrow)]
        id: Text<'a>,
        name: Text<'a>,
        on: Flag,
        child: Maybe<Child<'a>>,
        children: List<Maybe<Child<'a>>>,
        free: Entries<'a, Text<'a>>,
        any: Read<'a, Child<'a>>,
    }

    #[derive(Debug, Default, PartialEq, Deserialize)]
    #[serde(default)]
    struct Child<'a> {
        #[serde(borrow)]
        id: Text<'a>,
    }

    fn with<R>(json: &str, look: impl FnOnce(Body<'_>) -> R) -> R {
        let mut mended = String::new();
        look(decode(json, &mut mended).unwrap())
    }

    #[test]
    fn numbers_keep_their_digits() {
        with(r#"{"id": 1700000000.000100, "name": 12345678901234567890123}"#, |body| {
            assert_eq!(body.id.text(), Some("1700000000.000100"));
            assert_eq!(body.name.text(), Some("12345678901234567890123"));
        });
    }

    #[test]
    fn a_wrong_type_is_an_absent_field() {
        for wrong in ["null", "true", "1", "\"x\"", "[]", "[[{}], 1]", "{\"id\": {}}", "1e999"] {
            let json = format!(
                r#"{{"id": "a", "on": {wrong}, "child": {wrong}, "children": {wrong}, "free": {wrong}, "any": {wrong}}}"#
            );
            with(&json, |body| {
                if wrong != "1e999" {
                    assert_eq!(body.id.text(), Some("a"), "{wrong}");
                }
            });
        }
        for wrong in ["null", "true", "[1]", "{\"a\": [1]}"] {
            with(&format!(r#"{{"name": {wrong}, "id": "a"}}"#), |body| {
                assert_eq!((body.id.text(), body.name.text()), (Some("a"), None));
            });
        }
    }

    #[test]
    fn any_json_is_a_body_and_nothing_else_is() {
        for json in ["[]", "1", "\"x\"", "null", " {} ", "[[[[]]]]"] {
            assert!(with(json, |body| body == Body::default()), "{json}");
        }
        for text in ["", "{", "nonsense", "{}{}", "{\"a\":}"] {
            assert!(decode::<Body<'_>>(text, &mut String::new()).is_err(), "{text}");
        }
        let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
        with(&deep, |body| assert_eq!(body, Body::default()));
        with(&format!(r#"{{"id": "a", "more": {deep}}}"#), |body| {
            assert_eq!(body.id.text(), Some("a"));
        });
    }

    #[test]
    fn a_repeated_key_and_half_a_surrogate_pair_cost_nothing() {
        with(r#"{"id": "a", "id": "b"}"#, |body| {
            assert_eq!(body.id.text(), Some("b"));
        });
        with(r#"{"id": "a\ud83d!", "name": "\ud83d\ude00"}"#, |body| {
            assert!(body.id.text().unwrap().starts_with("a\u{fffd}"), "{body:?}");
            assert_eq!(body.name.text(), Some("😀"));
        });
    }

    #[test]
    fn an_object_is_a_list_of_one_and_a_long_list_has_an_end() {
        with(r#"{"children": {"id": 1}, "any": [{"id": 1}, 2]}"#, |body| {
            assert_eq!(body.children.iter().count(), 1);
            assert!(matches!(body.any, Read::List(list) if list.len() == 1));
        });
        let json = format!(r#"{{"children": [{}0]}}"#, "0,".repeat(10_000));
        with(&json, |body| assert_eq!(body.children.0.len(), MAX_LIST));
    }

    /// A value that may lie in lists and in objects of its own type.
    #[derive(Debug, Default, Deserialize)]
    #[serde(default)]
    struct Tree<'a> {
        #[serde(borrow)]
        id: Text<'a>,
        list: List<Maybe<Tree<'a>>>,
        any: Read<'a, Leaf<'a>>,
        left: Maybe<Tree<'a>>,
        right: Maybe<Tree<'a>>,
        last: Text<'a>,
    }

    #[derive(Debug, Default, Deserialize)]
    #[serde(default)]
    struct Leaf<'a> {
        #[serde(borrow)]
        list: List<Maybe<Child<'a>>>,
    }

    impl Tree<'_> {
        /// How many objects and elements there are.
        fn nodes(&self) -> usize {
            let inner: usize = self.list.iter().map(Tree::nodes).sum();
            let any = match &self.any {
                Read::List(leaves) => leaves.iter().map(|leaf| 1 + leaf.list.0.len()).sum(),
                _ => 0,
            };
            let halves = [&self.left, &self.right].into_iter().filter_map(Maybe::get);
            1 + self.list.0.len() + inner + any + halves.map(Tree::nodes).sum::<usize>()
        }
    }

    #[test]
    fn a_body_decodes_to_so_many_nodes_however_it_nests() {
        let many = |one: &str| vec![one; 1500].join(",");
        let leaves = many("{}");
        let lists = many(&format!(r#"{{"list":[{leaves}]}}"#));
        let mut halves = "{}".to_owned();
        for _ in 0..18 {
            halves = format!(r#"{{"left":{halves},"right":{halves}}}"#);
        }
        for json in [
            format!(r#"{{"id":1,"list":[{lists}],"last":2}}"#),
            format!(r#"{{"id":1,"any":[{lists}],"last":2}}"#),
            format!(r#"{{"id":1,"left":{halves},"last":2}}"#),
        ] {
            assert!(json.len() > 3_000_000);
            let mut mended = String::new();
            let tree: Tree<'_> = decode(&json, &mut mended).unwrap();
            assert!((MAX_NODES / 4..=MAX_NODES).contains(&tree.nodes()), "{}", tree.nodes());
            // Words behind the bulk are still read.
            assert!(tree.id.is("1") && tree.last.is("2"));
        }
        let twice = format!(r#"{{"id":1,"id":1,"list":[{lists}]}}"#);
        let mut mended = String::new();
        let tree: Tree<'_> = decode(&twice, &mut mended).unwrap();
        assert_eq!(tree.nodes(), 1, "too long to be mended");
    }

    #[test]
    fn what_is_read_over_is_not_counted() {
        let bulk = "[0],".repeat(100_000);
        let json = format!(r#"{{"unknown":[{bulk}0],"children":[{{"id":1}}]}}"#);
        with(&json, |body| assert_eq!(body.children.iter().count(), 1));
    }
}
