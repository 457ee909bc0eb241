//! Listings as people write them, in a file or as options, checked whole before anything is sent.
//!
//! All problems are collected, each with its place (`lamp.yaml:3` or `--price`), the field, what is wrong and the mend.

pub(crate) mod photos;
mod yaml;

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use tradepost_domain::field::Violation;
use tradepost_domain::listing::{Condition, Draft, PHOTOS_MAX};
use tradepost_domain::money::{Currency, Money};

use self::photos::PhotoFile;
use self::yaml::{Node, Value};
use crate::args::listings::ListingFields;
use crate::config::plain;
use crate::error::{Error, Result};
use crate::model::Content;

/// A listing to be created; its photos are not uploaded yet.
#[derive(Debug, Clone)]
pub(crate) struct Wanted {
    pub(crate) content: Content,
    pub(crate) photos: Vec<PhotoFile>,
    /// Where it was written, e.g. `lamp.yaml:3`.
    pub(crate) place: String,
}

/// Largest file, in bytes.
const FILE_MAX: u64 = 4 * 1024 * 1024;

/// The keys of a listing. The single-valued ones come first.
const KEYS: &[&str] = &[
    "title",
    "description",
    "price",
    "currency",
    "category",
    "condition",
    "location",
    "sku",
    "attributes",
    "photos",
];

/// A text and where it was written.
#[derive(Debug, Clone)]
struct Text {
    text: String,
    place: String,
}

/// A listing as it was written, unchecked.
#[derive(Debug, Default)]
struct Written {
    place: String,
    fields: BTreeMap<&'static str, Text>,
    attributes: BTreeMap<String, Text>,
    photos: Vec<Text>,
    /// What photo paths are relative to.
    folder: PathBuf,
}

/// The listings of a YAML or JSON file; `-` is standard input.
pub(crate) fn from_file(path: &Path, photos: &[PathBuf]) -> Result<Vec<Wanted>> {
    let (text, name, folder) = read(path)?;
    let documents = yaml::parse(&text).map_err(|invalid| {
        Error::usage(format!("{name}:{}: not valid YAML or JSON: {}", invalid.line, invalid.problem))
            .hint("`tradepost listings create --help` shows an example")
    })?;
    let mut problems = Vec::new();
    let nodes = documents.into_iter().flat_map(|document| match document.value {
        Value::Sequence(items) => items,
        _ => vec![document],
    });
    let mut written: Vec<_> =
        nodes.map(|node| Written::from_node(node, &name, &folder, &mut problems)).collect();
    if written.is_empty() {
        return Err(Error::usage(format!("{name} holds no listing"))
            .hint("`tradepost listings create --help` shows an example"));
    }
    if !photos.is_empty() {
        let [only] = written.as_mut_slice() else {
            return Err(Error::usage(format!(
                "--photos is for one listing, and {name} holds {}",
                written.len()
            ))
            .hint("name the photos of each listing in the file"));
        };
        only.folder = PathBuf::new();
        only.photos = photo_options(photos);
    }
    let wanted = written.iter().map(|written| written.check(&mut problems)).collect::<Vec<_>>();
    finish(wanted, problems, &name)
}

/// The listing that options describe.
pub(crate) fn from_options(fields: &ListingFields) -> Result<Wanted> {
    let mut problems = Vec::new();
    let written = Written::from_options(fields, &mut problems);
    let wanted = written.check(&mut problems);
    let mut wanted = finish(vec![wanted], problems, "the options")?;
    wanted.pop().ok_or_else(|| Error::failed("no listing was given"))
}

/// `content` with what options replace in it. Photos are returned apart, for they are not uploaded yet; none means the
/// old ones stay.
pub(crate) fn edited(content: &Content, fields: &ListingFields) -> Result<Wanted> {
    let mut problems = Vec::new();
    let mut written = Written::from_options(fields, &mut problems);
    let price = content.price.map(|price| price.to_string());
    if written.fields.contains_key("price") && !written.fields.contains_key("currency") {
        // A bare number keeps the currency.
        let bare = written.fields["price"].text.split_whitespace().count() == 1;
        if let (true, Some(price)) = (bare, content.price) {
            written.fields.insert("currency", option("currency", price.currency().code()));
        }
    }
    let old = [
        ("title", Some(content.title.clone())),
        ("description", Some(content.description.clone())),
        ("category", Some(content.category.clone())),
        ("condition", Some(content.condition.name().to_owned())),
        ("location", Some(content.location.clone())),
        ("sku", Some(content.sku.clone())),
        ("price", price),
    ];
    for (name, value) in old {
        if let Some(value) = value {
            written.fields.entry(name).or_insert_with(|| option(name, &value));
        }
    }
    for (name, value) in &content.attributes {
        written.attributes.entry(name.clone()).or_insert_with(|| option("attribute", value));
    }
    // An attribute set to nothing is taken away.
    written.attributes.retain(|_, value| !value.text.is_empty());
    let wanted = written.check(&mut problems);
    let mut wanted = finish(vec![wanted], problems, "the options")?;
    wanted.pop().ok_or_else(|| Error::failed("no listing was given"))
}

fn finish(wanted: Vec<Option<Wanted>>, mut problems: Vec<String>, name: &str) -> Result<Vec<Wanted>> {
    if problems.is_empty() {
        return Ok(wanted.into_iter().flatten().collect());
    }
    // In the order of the file's lines.
    problems.sort_by_key(|problem| {
        let place = problem.strip_prefix(name).and_then(|rest| rest.strip_prefix(':')).unwrap_or_default();
        place.split(':').next().and_then(|line| line.parse::<usize>().ok())
    });
    let count = problems.len();
    let noun = if count == 1 { "problem" } else { "problems" };
    Err(Error::usage(format!("{count} {noun} in {name}; nothing was changed")).details(problems))
}

fn read(path: &Path) -> Result<(String, String, PathBuf)> {
    let cannot =
        |error: &std::io::Error| Error::usage(format!("cannot read {}: {}", path.display(), plain(error)));
    let mut bytes = Vec::new();
    let (name, folder) = if path == Path::new("-") {
        std::io::stdin().take(FILE_MAX + 1).read_to_end(&mut bytes).map_err(|error| cannot(&error))?;
        ("standard input".to_owned(), PathBuf::new())
    } else {
        let file = fs::File::open(path).map_err(|error| cannot(&error))?;
        file.take(FILE_MAX + 1).read_to_end(&mut bytes).map_err(|error| cannot(&error))?;
        (path.display().to_string(), path.parent().map(Path::to_owned).unwrap_or_default())
    };
    if bytes.len() as u64 > FILE_MAX {
        return Err(Error::usage(format!("{name} is larger than 4 MiB"))
            .hint("is it the right file? split a longer list into several files"));
    }
    let text = String::from_utf8(bytes).map_err(|_| {
        Error::usage(format!("{name} is not UTF-8 text")).hint("is it the right file? save it as UTF-8")
    })?;
    Ok((text, name, folder))
}

fn option(name: &str, text: &str) -> Text {
    Text { text: text.to_owned(), place: format!("--{name}") }
}

fn photo_options(photos: &[PathBuf]) -> Vec<Text> {
    photos.iter().map(|path| option("photos", &path.to_string_lossy())).collect()
}

impl Written {
    fn from_options(fields: &ListingFields, problems: &mut Vec<String>) -> Self {
        let ListingFields {
            title,
            description,
            price,
            currency,
            category,
            condition,
            location,
            sku,
            attribute,
            photos,
        } = fields;
        let mut written = Self { photos: photo_options(photos), ..Self::default() };
        let given = [
            ("title", title),
            ("description", description),
            ("price", price),
            ("currency", currency),
            ("category", category),
            ("condition", condition),
            ("location", location),
            ("sku", sku),
        ];
        for (name, value) in given {
            if let Some(value) = value {
                written.fields.insert(name, option(name, value));
            }
        }
        for pair in attribute {
            match pair.split_once('=') {
                Some((name, value)) => {
                    written.attributes.insert(name.trim().to_owned(), option("attribute", value.trim()));
                }
                None => problems
                    .push(format!("--attribute: {pair:?} lacks \"=\"; write for example brand=Kaiser")),
            }
        }
        written
    }

    fn from_node(node: Node, file: &str, folder: &Path, problems: &mut Vec<String>) -> Self {
        let at = |line: usize| format!("{file}:{line}");
        let mut written = Self { place: at(node.line), folder: folder.to_owned(), ..Self::default() };
        let Value::Mapping(entries) = node.value else {
            problems
                .push(format!("{}: is no listing; write its fields as \"title: …\" lines", written.place));
            return written;
        };
        for (key, line, node) in entries {
            let exact = KEYS.iter().copied().find(|name| *name == key);
            let meant = exact.or_else(|| nearest(&key).filter(|name| !written.has(name)));
            if exact.is_none() {
                problems.push(format!("{}: {key}: is no field of a listing; {}", at(line), suggestion(&key)));
            }
            // What was probably meant is checked as well, so that its problems are told at once.
            let Some(name) = meant else { continue };
            match (name, node.value) {
                (_, Value::Null) => {}
                ("attributes", Value::Mapping(entries)) => {
                    for (name, line, node) in entries {
                        match node.value {
                            Value::Scalar(text) => {
                                written.attributes.insert(name, Text { text, place: at(line) });
                            }
                            _ => problems.push(format!("{}: attributes.{name}: must be a text", at(line))),
                        }
                    }
                }
                ("attributes", _) => {
                    problems
                        .push(format!("{}: attributes: must be lines such as \"brand: Kaiser\"", at(line)));
                }
                ("photos", Value::Scalar(text)) => written.photos.push(Text { text, place: at(node.line) }),
                ("photos", Value::Sequence(items)) => {
                    for item in items {
                        match item.value {
                            Value::Scalar(text) => written.photos.push(Text { text, place: at(item.line) }),
                            _ => problems.push(format!("{}: photos: must be names of files", at(item.line))),
                        }
                    }
                }
                ("photos", Value::Mapping(_)) => {
                    problems.push(format!("{}: photos: must be names of files, or a folder", at(line)));
                }
                (name, Value::Scalar(text)) => {
                    written.fields.insert(name, Text { text, place: at(line) });
                }
                (name, _) => problems.push(format!("{}: {name}: must be one text or number", at(line))),
            }
        }
        written
    }

    fn has(&self, name: &str) -> bool {
        match name {
            "attributes" => !self.attributes.is_empty(),
            "photos" => !self.photos.is_empty(),
            name => self.fields.contains_key(name),
        }
    }

    fn text(&self, name: &str) -> String {
        self.fields.get(name).map(|field| field.text.clone()).unwrap_or_default()
    }

    fn check(&self, problems: &mut Vec<String>) -> Option<Wanted> {
        let before = problems.len();
        let price = self.check_price(problems);
        let condition = self.fields.get("condition").map(|given| {
            Condition::parse(&given.text)
                .map_err(|error| problems.push(at_place(&given.place, "condition", &error)))
        });
        let draft = Draft {
            title: self.text("title"),
            description: self.text("description"),
            // What is wrong with the price is told already.
            price_minor: price.map_or(0, Money::minor),
            currency: price.map_or("EUR".to_owned(), |price| price.currency().code().to_owned()),
            category: self.text("category"),
            condition: condition.map(|parsed| parsed.unwrap_or(Condition::New)),
            location: self.text("location"),
            sku: self.text("sku"),
            attributes: self
                .attributes
                .iter()
                .map(|(name, value)| (name.clone(), value.text.clone()))
                .collect(),
            photos: Vec::new(),
        };
        let content = draft.check().map_err(|violations| {
            problems.extend(violations.0.iter().map(|violation| self.told(violation)));
        });
        let photos = self.check_photos(problems);
        if problems.len() > before {
            return None;
        }
        let content = content.ok()?;
        Some(Wanted {
            content: Content {
                title: content.title,
                description: content.description,
                price: Some(content.price),
                category: content.category,
                condition: content.condition,
                location: content.location,
                sku: content.sku,
                attributes: content.attributes,
                photo_ids: Vec::new(),
            },
            photos,
            place: self.place.clone(),
        })
    }

    fn told(&self, violation: &Violation) -> String {
        let Violation { field, description } = violation;
        let given = self.fields.get(field.as_str()).map(|text| &text.place);
        let attribute = field.strip_prefix("attributes.").and_then(|name| self.attributes.get(name));
        match given.or_else(|| attribute.map(|text| &text.place)) {
            Some(place) => at_place(place, field, description),
            None if self.place.is_empty() => at_place(&format!("--{field}"), field, description),
            None => at_place(&self.place, field, description),
        }
    }

    fn check_price(&self, problems: &mut Vec<String>) -> Option<Money> {
        let mut refuse = |place: &str, problem: String| {
            problems.push(at_place(place, "price", &problem));
            None
        };
        let Some(Text { text, place }) = self.fields.get("price") else {
            let place = if self.place.is_empty() { "--price" } else { &self.place };
            return refuse(place, "is missing; write for example \"25.50 EUR\"".to_owned());
        };
        let currency = self.fields.get("currency");
        let words: Vec<_> = text.split_whitespace().collect();
        let starts_with_letter = |word: &str| word.starts_with(|c: char| c.is_ascii_alphabetic());
        let (number, code) = match words.as_slice() {
            [number] => (*number, None),
            [code, number] if starts_with_letter(code) => (*number, Some(*code)),
            [number, code] => (*number, Some(*code)),
            _ => return refuse(place, format!("{text:?} is not a price; write for example \"25.50 EUR\"")),
        };
        let code = match (code, currency) {
            (Some(code), Some(given)) if !code.eq_ignore_ascii_case(given.text.trim()) => {
                return refuse(
                    place,
                    format!("says {code}, but currency says {}; leave one out", given.text),
                );
            }
            (Some(code), _) => code,
            (None, Some(given)) => given.text.as_str(),
            (None, None) => {
                return refuse(
                    place,
                    if number.parse::<f64>().is_ok() {
                        format!("{number:?} has no currency; write for example \"{number} EUR\"")
                    } else {
                        format!("{text:?} is not a price; write for example \"25.50 EUR\"")
                    },
                );
            }
        };
        match code.parse::<Currency>().and_then(|currency| Money::parse(number, currency)) {
            Ok(price) => Some(price),
            Err(error) => refuse(place, error.to_string()),
        }
    }

    fn check_photos(&self, problems: &mut Vec<String>) -> Vec<PhotoFile> {
        let mut found: Vec<PhotoFile> = Vec::new();
        for Text { text, place } in &self.photos {
            let refuse = |problem: String| problems.push(at_place(place, "photos", &problem));
            for photo in photos::find(&self.folder.join(text), refuse) {
                if found.iter().any(|other| other.path == photo.path) {
                    let path = photo.path.display();
                    problems.push(at_place(place, "photos", &format!("{path} is in the list already")));
                } else {
                    found.push(photo);
                }
            }
        }
        if let (true, Some(first)) = (found.len() > PHOTOS_MAX, self.photos.first()) {
            let problem = format!("are {}; at most {PHOTOS_MAX} are allowed", found.len());
            problems.push(at_place(&first.place, "photos", &problem));
        }
        found
    }
}

fn at_place(place: &str, field: &str, problem: &str) -> String {
    // The name of an option is the name of its field.
    if place.starts_with("--") {
        format!("{place}: {problem}")
    } else {
        format!("{place}: {field}: {problem}")
    }
}

/// The key that may have been meant.
fn nearest(key: &str) -> Option<&'static str> {
    let lower = key.to_lowercase();
    let distances = KEYS.iter().map(|name| (strsim::damerau_levenshtein(&lower, name), *name));
    distances.min().filter(|(distance, name)| *distance <= 3.min(name.len() / 2)).map(|(_, name)| name)
}

fn suggestion(key: &str) -> String {
    match nearest(key) {
        Some(name) => format!("did you mean {name:?}?"),
        None => format!("there are {}", KEYS.join(", ")),
    }
}
