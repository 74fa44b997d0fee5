//! From a tree to a typed value, with every fault at its place.
//!
//! Unknown fields are collected, as they harm nothing by themselves; any other fault ends the reading. `null`
//! counts as absent, as it does for an API server.

use std::cell::RefCell;
use std::fmt::Display;

use nexus_compile::nearest;
use serde::de::value::StrDeserializer;
use serde::de::{
    DeserializeOwned, DeserializeSeed, Deserializer, EnumAccess, Error as _, Expected, IntoDeserializer as _,
    MapAccess, SeqAccess, Unexpected, VariantAccess, Visitor,
};
use serde::forward_to_deserialize_any;

use super::problem::{Fault, ProblemKind};
use super::tree::{Entry, Node, Value};

/// Reads a value at `path`. Unknown fields are returned beside it.
pub(super) fn read<T: DeserializeOwned>(node: &Node, path: &str) -> (Result<T, Fault>, Vec<Fault>) {
    let unknown = RefCell::new(Vec::new());
    let typed = Typed { node, path: path.to_owned(), unknown: &unknown };
    let value = T::deserialize(typed).map_err(|fault| fault.place(path, node.at));
    (value, unknown.into_inner())
}

/// What an unknown key comes to, given the keys that there are.
pub(super) fn unknown_field(entry: &Entry, path: &str, known: &[&str]) -> Fault {
    let remedy = match nearest(&entry.key, known.iter().copied()) {
        Some(word) => format!("did you mean `{word}`?"),
        None if known.len() <= 12 => format!("there are: {}", known.join(", ")),
        None => "take it out".to_owned(),
    };
    let key = entry.key.escape_debug();
    let dot = if path.is_empty() { "" } else { "." };
    let fault = Fault::new(ProblemKind::UnknownField, format!("unknown field `{key}`"), remedy);
    fault.place(&format!("{path}{dot}{key}"), entry.at)
}

struct Typed<'a> {
    node: &'a Node,
    path: String,
    unknown: &'a RefCell<Vec<Fault>>,
}

impl<'a> Typed<'a> {
    fn child(&self, node: &'a Node, path: String) -> Self {
        Self { node, path, unknown: self.unknown }
    }

    fn field(&self, entry: &'a Entry) -> Self {
        let dot = if self.path.is_empty() { "" } else { "." };
        self.child(&entry.value, format!("{}{dot}{}", self.path, entry.key))
    }

    /// Runs one step and says where it failed.
    fn placed<T>(self, step: impl FnOnce(Self) -> Result<T, Fault>) -> Result<T, Fault> {
        let (path, at) = (self.path.clone(), self.node.at);
        step(self).map_err(|fault| fault.place(&path, at))
    }
}

impl<'de> Deserializer<'de> for Typed<'_> {
    type Error = Fault;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.placed(|this| match &this.node.value {
            Value::Null => visitor.visit_unit(),
            Value::Bool(value) => visitor.visit_bool(*value),
            Value::Int(value) => visitor.visit_i64(*value),
            Value::Uint(value) => visitor.visit_u64(*value),
            Value::Float(value) => visitor.visit_f64(*value),
            Value::Text(text) => visitor.visit_str(text),
            Value::List(list) => visitor.visit_seq(Items { typed: &this, list: list.iter(), at: 0 }),
            Value::Map(_) => visitor.visit_map(Fields::new(&this)),
        })
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match self.node.value {
            Value::Null => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Fault> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        if !matches!(self.node.value, Value::Map(_)) {
            let expected = format!("struct {name}");
            let given = unexpected(&self.node.value);
            let fault = Fault::invalid_type(given, &expected.as_str());
            return Err(fault.place(&self.path, self.node.at));
        }
        let unknown = self.node.entries().filter(|entry| !fields.contains(&entry.key.as_str()));
        let faults = unknown.map(|entry| unknown_field(entry, &self.path, fields));
        self.unknown.borrow_mut().extend(faults);
        self.deserialize_any(visitor)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        self.placed(|this| match this.node.text() {
            Some(text) if variants.contains(&text) => visitor.visit_enum(Variant(text)),
            Some(text) => Err(Fault::unknown_variant(text, variants)),
            None => Err(Fault::invalid_type(unexpected(&this.node.value), &"a string")),
        })
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_unit()
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct
        seq tuple tuple_struct map identifier
    }
}

/// The entries of a list.
struct Items<'a> {
    typed: &'a Typed<'a>,
    list: std::slice::Iter<'a, Node>,
    at: usize,
}

impl<'de> SeqAccess<'de> for Items<'_> {
    type Error = Fault;

    fn next_element_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, Fault> {
        let Some(node) = self.list.next() else {
            return Ok(None);
        };
        let path = format!("{}[{}]", self.typed.path, self.at);
        self.at += 1;
        let child = self.typed.child(node, path);
        child.placed(|child| seed.deserialize(child)).map(Some)
    }
}

/// The entries of a mapping.
struct Fields<'a> {
    typed: &'a Typed<'a>,
    entries: Vec<&'a Entry>,
    value: Option<&'a Entry>,
}

impl<'a> Fields<'a> {
    fn new(typed: &'a Typed<'a>) -> Self {
        let mut entries: Vec<_> = typed.node.entries().collect();
        entries.reverse();
        Self { typed, entries, value: None }
    }
}

impl<'de> MapAccess<'de> for Fields<'_> {
    type Error = Fault;

    fn next_key_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, Fault> {
        self.value = self.entries.pop();
        let Some(entry) = self.value else { return Ok(None) };
        let key: StrDeserializer<'_, Fault> = entry.key.as_str().into_deserializer();
        seed.deserialize(key).map_err(|fault| fault.place(&self.typed.path, entry.at)).map(Some)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, Fault> {
        let entry = self.value.take().ok_or_else(|| Fault::custom("a value without its key"))?;
        self.typed.field(entry).placed(|child| seed.deserialize(child))
    }
}

/// A variant without content; the kinds that we read have no others.
struct Variant<'a>(&'a str);

impl<'de> EnumAccess<'de> for Variant<'_> {
    type Error = Fault;
    type Variant = Self;

    fn variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<(S::Value, Self), Fault> {
        let name: StrDeserializer<'_, Fault> = self.0.into_deserializer();
        Ok((seed.deserialize(name)?, self))
    }
}

impl<'de> VariantAccess<'de> for Variant<'_> {
    type Error = Fault;

    fn unit_variant(self) -> Result<(), Fault> {
        Ok(())
    }

    fn newtype_variant_seed<S: DeserializeSeed<'de>>(self, _seed: S) -> Result<S::Value, Fault> {
        Err(Fault::custom("a variant with content"))
    }

    fn tuple_variant<V: Visitor<'de>>(self, _len: usize, _visitor: V) -> Result<V::Value, Fault> {
        Err(Fault::custom("a variant with content"))
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        _fields: &'static [&'static str],
        _visitor: V,
    ) -> Result<V::Value, Fault> {
        Err(Fault::custom("a variant with content"))
    }
}

fn unexpected(value: &Value) -> Unexpected<'_> {
    match value {
        Value::Null => Unexpected::Unit,
        Value::Bool(value) => Unexpected::Bool(*value),
        Value::Int(value) => Unexpected::Signed(*value),
        Value::Uint(value) => Unexpected::Unsigned(*value),
        Value::Float(value) => Unexpected::Float(*value),
        Value::Text(text) => Unexpected::Str(text),
        Value::List(_) => Unexpected::Seq,
        Value::Map(_) => Unexpected::Map,
    }
}

impl std::error::Error for Fault {}

impl Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}; {}", self.what, self.remedy)
    }
}

impl serde::de::Error for Fault {
    fn custom<T: Display>(message: T) -> Self {
        let message = message.to_string();
        Self::new(ProblemKind::BadValue, message.escape_debug().to_string(), "correct it")
    }

    fn invalid_type(given: Unexpected<'_>, expected: &dyn Expected) -> Self {
        let expected = expected.to_string();
        let (wanted, remedy) = wanted(&expected, given);
        Self::new(ProblemKind::WrongType, format!("{} stands where {wanted} belongs", said(given)), remedy)
    }

    fn invalid_value(given: Unexpected<'_>, expected: &dyn Expected) -> Self {
        let expected = expected.to_string();
        let (wanted, _) = wanted(&expected, given);
        let what = format!("{} does not fit into {wanted}", said(given));
        Self::new(ProblemKind::BadValue, what, "write another value")
    }

    fn unknown_variant(given: &str, known: &'static [&'static str]) -> Self {
        let remedy = match nearest(given, known.iter().copied()) {
            Some(word) => format!("did you mean `{word}`?"),
            None => format!("write one of {}", known.join(", ")),
        };
        let given = given.escape_debug();
        Self::new(
            ProblemKind::BadValue,
            format!("`{given}` is none of the values that can stand here"),
            remedy,
        )
    }

    fn missing_field(field: &'static str) -> Self {
        let mut fault = Self::new(ProblemKind::MissingField, format!("`{field}` is missing"), "add it");
        field.clone_into(&mut fault.path);
        fault
    }

    fn duplicate_field(field: &'static str) -> Self {
        Self::new(ProblemKind::DuplicateKey, format!("`{field}` stands twice"), "take one of them out")
    }
}

/// A given value, in words.
fn said(given: Unexpected<'_>) -> String {
    match given {
        Unexpected::Bool(value) => format!("`{value}`"),
        Unexpected::Unsigned(value) => format!("the number {value}"),
        Unexpected::Signed(value) => format!("the number {value}"),
        Unexpected::Float(value) => format!("the number {value}"),
        Unexpected::Str(text) => format!("the text `{}`", text.escape_debug()),
        Unexpected::Seq => "a list".to_owned(),
        Unexpected::Map => "a mapping".to_owned(),
        Unexpected::Unit => "nothing".to_owned(),
        other => other.to_string(),
    }
}

/// What serde expects, in words, and how to write it.
fn wanted(expected: &str, given: Unexpected<'_>) -> (String, String) {
    let scalar = matches!(
        given,
        Unexpected::Bool(_) | Unexpected::Unsigned(_) | Unexpected::Signed(_) | Unexpected::Float(_)
    );
    let (wanted, remedy) = match expected {
        "a string" if scalar => ("a text", "put it in quotes"),
        "a string" => ("a text", "write a text"),
        "a boolean" => ("`true` or `false`", "write one of them, without quotes"),
        "u8" | "u16" | "u32" | "u64" | "usize" | "i32" | "i64" => {
            ("a whole number", "write one, without quotes")
        }
        "a sequence" => ("a list", "write `[…]` or lines that begin with `- `"),
        "a map" => ("a mapping", "write `{…}` or lines of `key: value`"),
        _ if expected.starts_with("struct ") => ("a mapping", "write `{…}` or lines of `key: value`"),
        _ => return (expected.to_owned(), "write one".to_owned()),
    };
    (wanted.to_owned(), remedy.to_owned())
}
