//! The merged layers: values that know where they came from, and their deserializer.
//!
//! A deserializer of our own, because only it sees at once the keys that a struct knows, the path, the origin, and that a
//! text from the environment may stand for any type.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt::{self, Display};
use std::rc::Rc;

use serde::de::{self, DeserializeOwned, DeserializeSeed, IntoDeserializer, Visitor};
use serde::forward_to_deserialize_any;

use super::{Problem, Setting};

/// A value and its origin.
#[derive(Debug, Clone)]
pub(super) struct Node {
    origin: Rc<str>,
    kind: Kind,
}

#[derive(Debug, Clone)]
enum Kind {
    Table(BTreeMap<String, Node>),
    List(Vec<Node>),
    Bool(bool),
    Integer(i64),
    Float(f64),
    /// A TOML string: text and nothing else.
    String(String),
    /// From the environment or a flag: stands for the type that is asked for.
    Text(String),
}

/// What was found wrong so far.
#[derive(Debug, Default)]
pub(super) struct Problems {
    found: Vec<Problem>,
}

/// Deserializes `tree`; problems (unknown keys, a wrong type) are added to `problems`.
pub(super) fn deserialize<T: DeserializeOwned>(
    tree: Node,
    prefix: &str,
    problems: &mut Problems,
) -> Option<T> {
    let unknown = RefCell::new(Problems::default());
    let at = At { path: String::new(), prefix, unknown: &unknown };
    let result = T::deserialize(NodeDeserializer { node: tree, at });
    problems.found.append(&mut unknown.take().found);
    match result {
        Ok(value) => Some(value),
        Err(error) => {
            let key = error.key.unwrap_or_default();
            problems.add(error.origin.as_deref(), &key, error.message);
            None
        }
    }
}

// === impl Problems ===

impl Problems {
    pub(super) fn add(&mut self, origin: Option<&str>, key: &str, message: impl Into<String>) {
        let origin = origin.filter(|origin| !origin.is_empty()).map(str::to_owned);
        self.found.push(Problem { origin, key: key.to_owned(), message: message.into() });
    }

    pub(super) fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    pub(super) fn into_vec(self) -> Vec<Problem> {
        self.found
    }
}

// === impl Node ===

impl Node {
    pub(super) fn empty_table() -> Self {
        Self { origin: "".into(), kind: Kind::Table(BTreeMap::new()) }
    }

    pub(super) fn text(value: &str, origin: &str) -> Self {
        Self { origin: origin.into(), kind: Kind::Text(value.to_owned()) }
    }

    pub(super) fn from_toml(value: toml::Value, origin: &str) -> Self {
        Self::convert(value, &origin.into())
    }

    fn convert(value: toml::Value, origin: &Rc<str>) -> Self {
        let kind = match value {
            toml::Value::String(text) => Kind::String(text),
            toml::Value::Integer(number) => Kind::Integer(number),
            toml::Value::Float(number) => Kind::Float(number),
            toml::Value::Boolean(value) => Kind::Bool(value),
            toml::Value::Datetime(time) => Kind::String(time.to_string()),
            toml::Value::Array(items) => {
                Kind::List(items.into_iter().map(|item| Self::convert(item, origin)).collect())
            }
            toml::Value::Table(table) => Kind::Table(
                table.into_iter().map(|(key, value)| (key, Self::convert(value, origin))).collect(),
            ),
        };
        Self { origin: Rc::clone(origin), kind }
    }

    /// Every value with its path and origin, in the order of paths.
    pub(super) fn leaves(&self) -> Vec<Setting> {
        let mut found = Vec::new();
        self.collect_leaves("", &mut found);
        found
    }

    fn collect_leaves(&self, path: &str, found: &mut Vec<Setting>) {
        match &self.kind {
            Kind::Table(table) => {
                for (key, node) in table {
                    let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                    node.collect_leaves(&path, found);
                }
            }
            _ => found.push(Setting {
                key: path.to_owned(),
                value: self.written(),
                origin: self.origin.to_string(),
            }),
        }
    }

    fn written(&self) -> String {
        match &self.kind {
            Kind::Table(table) => format!("{{{}}}", table.keys().cloned().collect::<Vec<_>>().join(", ")),
            Kind::List(items) => {
                let items: Vec<String> = items.iter().map(Self::written).collect();
                format!("[{}]", items.join(", "))
            }
            Kind::Bool(value) => value.to_string(),
            Kind::Integer(value) => value.to_string(),
            Kind::Float(value) => value.to_string(),
            Kind::String(text) | Kind::Text(text) => text.clone(),
        }
    }

    pub(super) fn origin(&self) -> &str {
        &self.origin
    }

    pub(super) fn as_str(&self) -> Option<&str> {
        match &self.kind {
            Kind::String(text) | Kind::Text(text) => Some(text),
            _ => None,
        }
    }

    /// Lays `upper` over this tree: tables are merged, anything else is replaced.
    pub(super) fn merge(&mut self, upper: Self) {
        match (&mut self.kind, upper.kind) {
            (Kind::Table(below), Kind::Table(above)) => {
                for (key, value) in above {
                    match below.entry(key) {
                        std::collections::btree_map::Entry::Occupied(mut slot) => slot.get_mut().merge(value),
                        std::collections::btree_map::Entry::Vacant(slot) => {
                            slot.insert(value);
                        }
                    }
                }
            }
            (_, kind) => *self = Self { origin: upper.origin, kind },
        }
    }

    /// Puts `value` at `path`, making the tables on the way.
    pub(super) fn insert(&mut self, path: &[&str], value: Self, problems: &mut Problems) {
        let taken = value.origin().to_owned();
        if !self.try_insert(path, value) {
            problems.add(
                Some(&taken),
                &path.join("."),
                "is no place for a value; check the name of the variable",
            );
        }
    }

    fn try_insert(&mut self, path: &[&str], value: Self) -> bool {
        let (Kind::Table(table), Some((key, rest))) = (&mut self.kind, path.split_first()) else {
            return false;
        };
        if key.is_empty() {
            false
        } else if rest.is_empty() {
            table.insert((*key).to_owned(), value);
            true
        } else {
            table.entry((*key).to_owned()).or_insert_with(Self::empty_table).try_insert(rest, value)
        }
    }

    /// Takes out what is at `path`.
    pub(super) fn remove(&mut self, path: &[&str]) -> Option<Self> {
        let (last, way) = path.split_last()?;
        match &mut self.descend(way)?.kind {
            Kind::Table(table) => table.remove(*last),
            _ => None,
        }
    }

    pub(super) fn contains(&mut self, path: &[&str]) -> bool {
        self.descend(path).is_some()
    }

    fn descend(&mut self, path: &[&str]) -> Option<&mut Self> {
        path.iter().try_fold(self, |place, key| match &mut place.kind {
            Kind::Table(table) => table.get_mut(*key),
            _ => None,
        })
    }

    fn unexpected(&self) -> de::Unexpected<'_> {
        match &self.kind {
            Kind::Table(_) => de::Unexpected::Map,
            Kind::List(_) => de::Unexpected::Seq,
            Kind::Bool(value) => de::Unexpected::Bool(*value),
            Kind::Integer(value) => de::Unexpected::Signed(*value),
            Kind::Float(value) => de::Unexpected::Float(*value),
            Kind::String(text) | Kind::Text(text) => de::Unexpected::Str(text),
        }
    }
}

// === the deserializer ===

/// Where in the tree a deserializer stands.
#[derive(Clone)]
struct At<'a> {
    path: String,
    prefix: &'a str,
    unknown: &'a RefCell<Problems>,
}

struct NodeDeserializer<'a> {
    node: Node,
    at: At<'a>,
}

struct Fields<'a> {
    at: At<'a>,
    rest: std::collections::btree_map::IntoIter<String, Node>,
    next: Option<(String, Node)>,
}

struct Items<'a> {
    at: At<'a>,
    rest: std::iter::Enumerate<std::vec::IntoIter<Node>>,
}

struct Variant<'a> {
    name: String,
    content: Node,
    at: At<'a>,
}

/// An error with the innermost place that knew it.
#[derive(Debug)]
pub(super) struct TreeError {
    message: String,
    missing: Option<&'static str>,
    key: Option<String>,
    origin: Option<Rc<str>>,
}

impl At<'_> {
    fn child(&self, key: &str) -> Self {
        let path = if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) };
        Self { path, prefix: self.prefix, unknown: self.unknown }
    }

    /// The environment variable that sets `path`.
    fn variable(&self, path: &str) -> String {
        format!("{}{}", self.prefix, path.to_uppercase().replace('.', "__"))
    }

    /// Completes an error that came out of the value here, unless a deeper place did so.
    fn locate(&self, origin: &Rc<str>, mut error: TreeError) -> TreeError {
        if let Some(field) = error.missing.take() {
            let path = self.child(field).path;
            error.message =
                format!("is required; set it in the configuration file or as {}", self.variable(&path));
            error.key = Some(path);
        } else if error.key.is_none() {
            error.key = Some(self.path.clone());
            error.origin = Some(Rc::clone(origin));
        }
        error
    }
}

impl<'a> NodeDeserializer<'a> {
    fn locate<T>(at: &At<'a>, origin: &Rc<str>, result: Result<T, TreeError>) -> Result<T, TreeError> {
        result.map_err(|error| at.locate(origin, error))
    }

    fn table<'de, V: Visitor<'de>>(
        table: BTreeMap<String, Node>,
        at: At<'a>,
        visitor: V,
    ) -> Result<V::Value, TreeError> {
        visitor.visit_map(Fields { at, rest: table.into_iter(), next: None })
    }

    fn list<'de, V: Visitor<'de>>(items: Vec<Node>, at: At<'a>, visitor: V) -> Result<V::Value, TreeError> {
        visitor.visit_seq(Items { at, rest: items.into_iter().enumerate() })
    }

    /// A number: from a text, what it spells.
    fn number<'de, V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, TreeError> {
        let Self { node, at } = self;
        let result = match &node.kind {
            Kind::Integer(value) => visitor.visit_i64(*value),
            Kind::Float(value) => visitor.visit_f64(*value),
            Kind::Text(text) => {
                if let Ok(value) = text.trim().parse::<i64>() {
                    visitor.visit_i64(value)
                } else if let Ok(value) = text.trim().parse::<f64>() {
                    visitor.visit_f64(value)
                } else {
                    Err(de::Error::invalid_type(node.unexpected(), &visitor))
                }
            }
            _ => Err(de::Error::invalid_type(node.unexpected(), &visitor)),
        };
        Self::locate(&at, &node.origin, result)
    }
}

macro_rules! numbers {
    ($($method:ident)*) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, TreeError> {
            self.number(visitor)
        })*
    };
}

impl<'de> de::Deserializer<'de> for NodeDeserializer<'_> {
    type Error = TreeError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, TreeError> {
        let Self { node: Node { origin, kind }, at } = self;
        let result = match kind {
            Kind::Table(table) => Self::table(table, at.clone(), visitor),
            Kind::List(items) => Self::list(items, at.clone(), visitor),
            Kind::Bool(value) => visitor.visit_bool(value),
            Kind::Integer(value) => visitor.visit_i64(value),
            Kind::Float(value) => visitor.visit_f64(value),
            Kind::String(text) | Kind::Text(text) => visitor.visit_string(text),
        };
        Self::locate(&at, &origin, result)
    }

    numbers! {
        deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64 deserialize_i128
        deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64 deserialize_u128
        deserialize_f32 deserialize_f64
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, TreeError> {
        match self.node.as_str().map(str::trim) {
            Some("true") if matches!(self.node.kind, Kind::Text(_)) => visitor.visit_bool(true),
            Some("false") if matches!(self.node.kind, Kind::Text(_)) => visitor.visit_bool(false),
            _ => self.deserialize_any(visitor),
        }
    }

    /// A text is a TOML array when it begins like one, else a list by commas.
    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, TreeError> {
        let Kind::Text(text) = &self.node.kind else { return self.deserialize_any(visitor) };
        let text = text.trim();
        let origin = Rc::clone(&self.node.origin);
        let items = if text.starts_with('[') {
            match format!("list = {text}")
                .parse::<toml::Table>()
                .ok()
                .and_then(|mut table| table.remove("list"))
            {
                Some(list) => Node::convert(list, &origin).kind,
                None => return self.deserialize_any(visitor),
            }
        } else {
            let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
            Kind::List(parts.map(|part| Node::text(part, &origin)).collect())
        };
        NodeDeserializer { node: Node { origin, kind: items }, at: self.at }.deserialize_any(visitor)
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, TreeError> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, TreeError> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, TreeError> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        mut self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, TreeError> {
        if let Kind::Table(table) = &mut self.node.kind {
            let at = &self.at;
            table.retain(|key, node| {
                let known = fields.contains(&key.as_str());
                if !known {
                    let message = format!("unknown key; {}", suggestion(key, fields));
                    at.unknown.borrow_mut().add(Some(&leaf_origin(node)), &at.child(key).path, message);
                }
                known
            });
        }
        self.deserialize_any(visitor)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, TreeError> {
        let Self { node: Node { origin, kind }, at } = self;
        let result = match kind {
            Kind::String(name) | Kind::Text(name) if variants.contains(&name.as_str()) => {
                visitor.visit_enum(name.into_deserializer())
            }
            Kind::String(name) | Kind::Text(name) => {
                Err(de::Error::custom(format!("{name:?} is not one of {}", variants.join(", "))))
            }
            Kind::Table(mut table) if table.len() == 1 => match table.pop_first() {
                Some((name, content)) => visitor.visit_enum(Variant { name, content, at: at.clone() }),
                None => Err(de::Error::custom("expected one key")),
            },
            _ => Err(de::Error::custom(format!("expected one of {}", variants.join(", ")))),
        };
        Self::locate(&at, &origin, result)
    }

    forward_to_deserialize_any! {
        char str string bytes byte_buf unit unit_struct map tuple_struct identifier ignored_any
    }
}

impl<'de> de::MapAccess<'de> for Fields<'_> {
    type Error = TreeError;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, TreeError> {
        self.next = self.rest.next();
        match &self.next {
            Some((key, _)) => seed.deserialize(key.as_str().into_deserializer()).map(Some),
            None => Ok(None),
        }
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, TreeError> {
        let Some((key, node)) = self.next.take() else {
            return Err(de::Error::custom("a value without a key"));
        };
        let at = self.at.child(&key);
        let origin = Rc::clone(&node.origin);
        // Located here too: a `with` function may refuse the value after the deserializer has handed it over.
        seed.deserialize(NodeDeserializer { node, at: at.clone() }).map_err(|error| at.locate(&origin, error))
    }
}

impl<'de> de::SeqAccess<'de> for Items<'_> {
    type Error = TreeError;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, TreeError> {
        let Some((index, node)) = self.rest.next() else { return Ok(None) };
        let at = At { path: format!("{}[{index}]", self.at.path), ..self.at.clone() };
        let origin = Rc::clone(&node.origin);
        seed.deserialize(NodeDeserializer { node, at: at.clone() })
            .map(Some)
            .map_err(|error| at.locate(&origin, error))
    }
}

impl<'de, 'a> de::EnumAccess<'de> for Variant<'a> {
    type Error = TreeError;
    type Variant = NodeDeserializer<'a>;

    fn variant_seed<V: DeserializeSeed<'de>>(self, seed: V) -> Result<(V::Value, Self::Variant), TreeError> {
        let at = self.at.child(&self.name);
        let value = seed.deserialize(self.name.into_deserializer())?;
        Ok((value, NodeDeserializer { node: self.content, at }))
    }
}

impl<'de> de::VariantAccess<'de> for NodeDeserializer<'_> {
    type Error = TreeError;

    fn unit_variant(self) -> Result<(), TreeError> {
        Err(self.at.locate(&self.node.origin, de::Error::custom("takes no value; write its name alone")))
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, TreeError> {
        seed.deserialize(self)
    }

    fn tuple_variant<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, TreeError> {
        de::Deserializer::deserialize_seq(self, visitor)
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, TreeError> {
        de::Deserializer::deserialize_struct(self, "", fields, visitor)
    }
}

/// The origin of an unknown key; a table made for the path of a variable has none, but what it holds does.
fn leaf_origin(node: &Node) -> String {
    match &node.kind {
        Kind::Table(table) if node.origin.is_empty() => {
            table.values().next().map(leaf_origin).unwrap_or_default()
        }
        _ => node.origin.to_string(),
    }
}

/// The nearest of the known keys, or all of them.
fn suggestion(key: &str, fields: &[&str]) -> String {
    let near = |field: &&&str| {
        let common = field.chars().filter(|character| key.contains(*character)).count();
        let lengths = field.len().max(key.len());
        field.starts_with(key) || key.starts_with(**field) || (common * 4 >= lengths * 3 && lengths > 3)
    };
    match fields.iter().find(near) {
        Some(field) => format!("did you mean {field}?"),
        None => format!("known here: {}", fields.join(", ")),
    }
}

// === impl TreeError ===

impl de::Error for TreeError {
    fn custom<T: Display>(message: T) -> Self {
        Self { message: message.to_string(), missing: None, key: None, origin: None }
    }

    fn missing_field(field: &'static str) -> Self {
        Self { message: String::new(), missing: Some(field), key: None, origin: None }
    }
}

impl Display for TreeError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.message)
    }
}

impl std::error::Error for TreeError {}
