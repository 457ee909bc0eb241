//! YAML (and so JSON) as nodes that know their lines.

use yaml_rust2::parser::{Event, MarkedEventReceiver, Parser};
use yaml_rust2::scanner::{Marker, TScalarStyle};

/// A value and the line where it begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Node {
    pub(super) line: usize,
    pub(super) value: Value,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Value {
    /// Nothing was written.
    Null,
    /// Text or number, as it was written.
    Scalar(String),
    Sequence(Vec<Node>),
    /// Keys with their lines, in the order of the file.
    Mapping(Vec<(String, usize, Node)>),
}

/// Why a text is not YAML, and where.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Invalid {
    pub(super) line: usize,
    pub(super) problem: String,
}

/// The documents of a text; none when it is empty.
pub(super) fn parse(text: &str) -> Result<Vec<Node>, Invalid> {
    let mut builder = Builder::default();
    Parser::new_from_str(text)
        .load(&mut builder, true)
        .map_err(|error| Invalid { line: error.marker().line().max(1), problem: error.info().to_owned() })?;
    match builder.invalid {
        Some(invalid) => Err(invalid),
        None => Ok(builder.documents),
    }
}

/// A collection that is still open.
#[derive(Debug)]
enum Open {
    Sequence(usize, Vec<Node>),
    Mapping(usize, Vec<(String, usize, Node)>, Option<(String, usize)>),
}

#[derive(Debug, Default)]
struct Builder {
    documents: Vec<Node>,
    open: Vec<Open>,
    invalid: Option<Invalid>,
}

impl Builder {
    fn refuse(&mut self, line: usize, problem: impl Into<String>) {
        self.invalid.get_or_insert_with(|| Invalid { line, problem: problem.into() });
    }

    fn add(&mut self, node: Node) {
        match self.open.last_mut() {
            None => self.documents.push(node),
            Some(Open::Sequence(_, items)) => items.push(node),
            Some(Open::Mapping(_, entries, key)) => match (key.take(), node) {
                (Some((name, line)), node) => {
                    let doubled =
                        entries.iter().find(|(other, ..)| *other == name).map(|(_, first, _)| *first);
                    if let Some(first) = doubled {
                        self.refuse(
                            line,
                            format!("{name:?} is here twice; it was given in line {first} already"),
                        );
                    } else {
                        entries.push((name, line, node));
                    }
                }
                (None, Node { line, value: Value::Scalar(name) }) => *key = Some((name, line)),
                (None, Node { line, .. }) => self.refuse(line, "a key must be a word, such as \"title\""),
            },
        }
    }
}

impl MarkedEventReceiver for Builder {
    fn on_event(&mut self, event: Event, marker: Marker) {
        let line = marker.line();
        match event {
            Event::Scalar(text, style, ..) => {
                let null = style == TScalarStyle::Plain && matches!(text.as_str(), "" | "~" | "null");
                self.add(Node { line, value: if null { Value::Null } else { Value::Scalar(text) } });
            }
            Event::SequenceStart(..) => self.open.push(Open::Sequence(line, Vec::new())),
            Event::MappingStart(..) => self.open.push(Open::Mapping(line, Vec::new(), None)),
            Event::SequenceEnd | Event::MappingEnd => match self.open.pop() {
                Some(Open::Sequence(line, items)) => self.add(Node { line, value: Value::Sequence(items) }),
                Some(Open::Mapping(line, entries, _)) => {
                    self.add(Node { line, value: Value::Mapping(entries) });
                }
                None => {}
            },
            Event::Alias(_) => self.refuse(line, "aliases (*name) are not taken; write the value out"),
            Event::Nothing
            | Event::StreamStart
            | Event::StreamEnd
            | Event::DocumentStart
            | Event::DocumentEnd => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_keep_their_text_and_line() {
        let documents = parse("title: a\nprice: 25.50\nphotos:\n  - 1.jpg\n").expect("valid");
        let Value::Mapping(entries) = &documents[0].value else { panic!("{documents:?}") };
        assert_eq!(entries[1], ("price".into(), 2, Node { line: 2, value: Value::Scalar("25.50".into()) }));
        let photo = Node { line: 4, value: Value::Scalar("1.jpg".into()) };
        assert_eq!(entries[2].2.value, Value::Sequence(vec![photo]));
    }

    #[test]
    fn json_with_tabs_is_read() {
        let documents = parse("[\n\t{\n\t\t\"title\": \"a \\\"b\\\" \\u00e4\"\n\t}\n]").expect("valid");
        let Value::Sequence(items) = &documents[0].value else { panic!("{documents:?}") };
        let Value::Mapping(entries) = &items[0].value else { panic!("{items:?}") };
        assert_eq!(entries[0].2.value, Value::Scalar("a \"b\" ä".into()));
    }

    #[test]
    fn faults_are_told_with_their_line() {
        assert_eq!(parse("title: a\ntitle: b\n").expect_err("doubled").line, 2);
        assert_eq!(parse("title: a\nprice: [1\ncondition: good\n").expect_err("open bracket").line, 3);
        assert_eq!(parse("").expect("empty is no fault"), Vec::new());
    }
}
