//! Just enough of YAML for Kubernetes manifests: no aliases, no tags, no key twice.
//!
//! JSON is read by it, too. Errors tell lines and quote nothing.

use std::{collections::BTreeMap, mem};

use saphyr_parser::{Event, Parser, ScalarStyle};
use zeroize::Zeroizing;

/// How deep lists and mappings may be in each other.
const MAX_DEPTH: usize = 32;

/// The most values of one file.
const MAX_NODES: usize = 1_000_000;

/// Why a text is not read; never with a value in it.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(crate) enum Error {
    #[error("it is not UTF-8 text")]
    NotText,
    #[error("line {0} is not well-formed YAML")]
    Broken(usize),
    #[error("line {0} refers to a value elsewhere (*NAME), which is not followed")]
    Alias(usize),
    #[error("line {0} has a tag (!NAME), which is not known")]
    Tag(usize),
    #[error("line {0} has a key that is no text")]
    Key(usize),
    #[error("line {0} has a key that was there before")]
    Twice(usize),
    #[error("line {0} is nested deeper than {MAX_DEPTH}")]
    Deep(usize),
    #[error("it has over {MAX_NODES} values")]
    Large,
}

/// A value, and the line it begins in.
pub(crate) struct Node {
    pub(crate) line: usize,
    pub(crate) value: Value,
}

pub(crate) enum Value {
    Null,
    Text(Zeroizing<String>),
    /// A number or a truth value.
    Other,
    List(Vec<Node>),
    Map(BTreeMap<String, Node>),
}

impl Value {
    pub(crate) fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    pub(crate) fn get(&self, key: &str) -> Option<&Self> {
        match self {
            Self::Map(map) => map.get(key).map(|node| &node.value),
            _ => None,
        }
    }
}

/// The documents of a file, without those that are empty.
pub(crate) fn read(bytes: &[u8]) -> Result<Vec<Node>, Error> {
    let text = str::from_utf8(bytes).map_err(|_| Error::NotText)?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut tree = Tree::default();
    for event in Parser::new_from_str(text) {
        let (event, span) = event.map_err(|error| Error::Broken(error.marker().line()))?;
        tree.grow(event, span.start.line())?;
    }
    let mut documents = tree.documents;
    documents.retain(|node| !matches!(node.value, Value::Null));
    Ok(documents)
}

/// What is read so far.
#[derive(Default)]
struct Tree {
    documents: Vec<Node>,
    open: Vec<Open>,
    nodes: usize,
}

/// A list or a mapping that goes on.
struct Open {
    node: Node,
    /// The key whose value comes next.
    key: Option<String>,
}

impl Tree {
    fn grow(&mut self, event: Event<'_>, line: usize) -> Result<(), Error> {
        let value = match event {
            Event::Alias(_) => return Err(Error::Alias(line)),
            Event::Scalar(.., Some(_))
            | Event::SequenceStart(_, Some(_))
            | Event::MappingStart(_, Some(_)) => return Err(Error::Tag(line)),
            Event::Scalar(text, style, _, None) => scalar(Zeroizing::new(text.into_owned()), style),
            Event::SequenceStart(..) => return self.enter(Value::List(Vec::new()), line),
            Event::MappingStart(..) => return self.enter(Value::Map(BTreeMap::new()), line),
            Event::SequenceEnd | Event::MappingEnd => {
                let open = self.open.pop().ok_or(Error::Broken(line))?;
                return self.add(open.node);
            }
            Event::Nothing
            | Event::StreamStart
            | Event::StreamEnd
            | Event::DocumentStart(_)
            | Event::DocumentEnd => return Ok(()),
        };
        self.add(Node { line, value })
    }

    fn enter(&mut self, value: Value, line: usize) -> Result<(), Error> {
        if self.open.len() == MAX_DEPTH {
            return Err(Error::Deep(line));
        }
        let (node, key) = (Node { line, value }, None);
        self.open.push(Open { node, key });
        Ok(())
    }

    fn add(&mut self, node: Node) -> Result<(), Error> {
        self.nodes += 1;
        if self.nodes > MAX_NODES {
            return Err(Error::Large);
        }
        let Some(open) = self.open.last_mut() else {
            self.documents.push(node);
            return Ok(());
        };
        let line = node.line;
        match (&mut open.node.value, open.key.take()) {
            (Value::Map(map), Some(key)) => match map.insert(key, node) {
                Some(_) => Err(Error::Twice(line)),
                None => Ok(()),
            },
            (Value::Map(_), None) => match node.value {
                Value::Text(mut text) => {
                    open.key = Some(mem::take(&mut *text));
                    Ok(())
                }
                _ => Err(Error::Key(line)),
            },
            (Value::List(list), _) => {
                list.push(node);
                Ok(())
            }
            _ => Err(Error::Broken(line)),
        }
    }
}

/// A text without quotes may be something else, as YAML reads it and as kubectl does.
fn scalar(text: Zeroizing<String>, style: ScalarStyle) -> Value {
    if style != ScalarStyle::Plain {
        return Value::Text(text);
    }
    match text.as_str() {
        "" | "~" | "null" | "Null" | "NULL" => return Value::Null,
        _ => {}
    }
    let is_word = ["true", "false", "yes", "no", "on", "off", "y", "n"]
        .iter()
        .any(|word| text.eq_ignore_ascii_case(word));
    let digits = text.trim_start_matches(['+', '-']);
    let is_special = [".inf", ".nan"]
        .iter()
        .any(|word| digits.eq_ignore_ascii_case(word));
    let begins = digits.starts_with(|c: char| c.is_ascii_digit() || c == '.');
    let plain: Zeroizing<String> = Zeroizing::new(digits.replace('_', ""));
    let is_based = |prefix, radix| {
        let rest = plain.strip_prefix(prefix);
        rest.is_some_and(|rest: &str| u128::from_str_radix(rest, radix).is_ok())
    };
    let is_number = plain.parse::<f64>().is_ok()
        || is_based("0x", 16)
        || is_based("0o", 8)
        || is_based("0b", 2);
    match is_word || is_special || begins && is_number {
        true => Value::Other,
        false => Value::Text(text),
    }
}
