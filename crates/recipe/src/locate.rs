//! Where something is on a page: targets with fallbacks, conditions on the page, and matches of text.
//!
//! The same types are read from YAML (their texts may hold variables) and, once resolved, handed to the page.

use std::fmt;

use serde::de::{MapAccess, SeqAccess, Visitor, value::MapAccessDeserializer, value::SeqAccessDeserializer};
use serde::{Deserialize, Deserializer, Serialize};

use crate::normal;
use crate::template::{Template, Unset};
use crate::values::Values;

/// One element, found by the first of its locators that matches.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Target {
    /// Locators in order of preference.
    pub any: Vec<Locator>,
}

/// One way to find an element. Exactly one of `role`, `label`, `text` and `css` is given.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Locator {
    /// ARIA role, explicit or implied by the element, e.g. `button`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
    /// With `role`: the accessible name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<TextMatch>,
    /// The form control with this label text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<TextMatch>,
    /// The innermost element with this text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<TextMatch>,
    /// A CSS selector over attributes and structure; no classes, no generated ids.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub css: Option<String>,
    /// Only inside this element.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub within: Option<Target>,
    /// Only elements that hold this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub having: Option<Target>,
    /// Only elements right after this one, among the same parent's children.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<Target>,
    /// Only elements whose value, or text when they have none, fits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shows: Option<TextMatch>,
    /// Only checkboxes, radio buttons and switches in this state.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checked: Option<bool>,
    /// Only the element at this place among all that match, counted from 0. For the engine: in a recipe, a place in
    /// the document would change with each layout.
    #[serde(skip_deserializing, skip_serializing_if = "Option::is_none")]
    pub nth: Option<usize>,
    /// The element may be hidden (a file input behind a button).
    #[serde(default, skip_serializing_if = "is_false")]
    pub hidden: bool,
}

/// A match of text, after [`crate::normal::label`] of both sides (regular expressions: as on the page, one line).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct TextMatch {
    /// The whole text is one of these.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub equals: Vec<String>,
    /// The text starts with one of these.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub starts_with: Vec<String>,
    /// The text contains one of these.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub contains: Vec<String>,
    /// A regular expression finds something in the text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub matches: Option<String>,
}

/// The map form of a [`TextMatch`] in YAML.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TextRule {
    #[serde(default)]
    equals: OneOrMany,
    #[serde(default)]
    starts_with: OneOrMany,
    #[serde(default)]
    contains: OneOrMany,
    #[serde(default)]
    matches: Option<String>,
}

/// A text or a list of texts.
#[derive(Default, Deserialize)]
#[serde(from = "OneOrManyForm")]
struct OneOrMany(Vec<String>);

#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrManyForm {
    One(String),
    Many(Vec<String>),
}

/// Something that is true of a page; all of its given parts together.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Condition {
    /// A regular expression on path and query, e.g. `^/item/(?<id>\d+)/`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// One of the page's visible headings.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub heading: Option<TextMatch>,
    /// This element is visible.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub visible: Option<Target>,
    /// With `visible`: at least this many such elements are; 1 when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at_least: Option<usize>,
    /// No such element is visible.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub absent: Option<Target>,
    /// The page's visible text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<TextMatch>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it with a reference")]
fn is_false(flag: &bool) -> bool {
    !*flag
}

// === impl Target ===

impl Target {
    /// A target with one locator.
    pub fn one(locator: Locator) -> Self {
        Self { any: vec![locator] }
    }

    /// The same target, only while it shows a text that fits.
    #[must_use]
    pub fn showing(&self, shows: &TextMatch) -> Self {
        let any = self
            .any
            .iter()
            .map(|locator| Locator { shows: Some(shows.clone()), ..locator.clone() })
            .collect();
        Self { any }
    }

    /// The same target, only in that state.
    #[must_use]
    pub fn checked(&self, checked: bool) -> Self {
        let any =
            self.any.iter().map(|locator| Locator { checked: Some(checked), ..locator.clone() }).collect();
        Self { any }
    }

    /// The same target, only the element at that place among those that match.
    #[must_use]
    pub fn at(&self, nth: usize) -> Self {
        let any = self.any.iter().map(|locator| Locator { nth: Some(nth), ..locator.clone() }).collect();
        Self { any }
    }

    /// The same target, with the locators' name given.
    #[must_use]
    pub fn named(&self, name: &str) -> Self {
        let name = Some(TextMatch::equals(name));
        let any = self.any.iter().map(|locator| Locator { name: name.clone(), ..locator.clone() }).collect();
        Self { any }
    }

    /// The same target, only inside `outer`, unless its locators say where themselves.
    #[must_use]
    pub fn inside(mut self, outer: &Self) -> Self {
        for locator in &mut self.any {
            locator.within.get_or_insert_with(|| outer.clone());
        }
        self
    }

    /// The target with its variables replaced.
    pub fn resolve(&self, values: &Values) -> Result<Self, Unset> {
        let any = self.any.iter().map(|locator| locator.resolve(values)).collect::<Result<_, _>>()?;
        Ok(Self { any })
    }
}

impl fmt::Display for Target {
    /// The preferred locator, in words.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.any.first() {
            Some(locator) => locator.fmt(f),
            None => f.write_str("nothing"),
        }
    }
}

impl<'de> Deserialize<'de> for Target {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OneOrList;
        impl<'de> Visitor<'de> for OneOrList {
            type Value = Target;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a locator such as {role: button, name: Save}, or a list of them")
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Target, A::Error> {
                Locator::deserialize(MapAccessDeserializer::new(map)).map(Target::one)
            }

            fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<Target, A::Error> {
                let any = Vec::<Locator>::deserialize(SeqAccessDeserializer::new(seq))?;
                if any.is_empty() {
                    return Err(serde::de::Error::custom("a target needs at least one locator"));
                }
                Ok(Target { any })
            }
        }
        deserializer.deserialize_any(OneOrList)
    }
}

// === impl Locator ===

impl Locator {
    /// A locator by CSS.
    pub fn css(selector: &str) -> Self {
        Self { css: Some(selector.to_owned()), ..Self::default() }
    }

    /// A locator by role and accessible name.
    pub fn role(role: &str, name: &str) -> Self {
        Self { role: Some(role.to_owned()), name: Some(TextMatch::equals(name)), ..Self::default() }
    }

    /// A locator by label text.
    pub fn label(label: &str) -> Self {
        Self { label: Some(TextMatch::equals(label)), ..Self::default() }
    }

    fn resolve(&self, values: &Values) -> Result<Self, Unset> {
        let text = |rule: &Option<TextMatch>| rule.as_ref().map(|m| m.resolve(values)).transpose();
        let target = |inner: &Option<Target>| inner.as_ref().map(|t| t.resolve(values)).transpose();
        Ok(Self {
            role: self.role.clone(),
            name: text(&self.name)?,
            label: text(&self.label)?,
            text: text(&self.text)?,
            css: self.css.as_deref().map(|css| Template::from(css).render(values)).transpose()?,
            within: target(&self.within)?,
            having: target(&self.having)?,
            after: target(&self.after)?,
            shows: text(&self.shows)?,
            checked: self.checked,
            nth: self.nth,
            hidden: self.hidden,
        })
    }
}

impl fmt::Display for Locator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.role, &self.name, &self.label, &self.text, &self.css) {
            (Some(role), Some(name), ..) => write!(f, "the {role} {name}"),
            (Some(role), None, ..) => write!(f, "a {role}"),
            (_, _, Some(label), ..) => write!(f, "the field labelled {label}"),
            (_, _, _, Some(text), _) => write!(f, "the text {text}"),
            (_, _, _, _, Some(css)) => write!(f, "the element {css}"),
            _ => f.write_str("an element"),
        }
    }
}

// === impl TextMatch ===

impl TextMatch {
    /// The whole text, whatever its case and spacing.
    pub fn equals(text: impl Into<String>) -> Self {
        Self { equals: vec![text.into()], ..Self::default() }
    }

    /// The beginning of the text.
    pub fn starts_with(text: impl Into<String>) -> Self {
        Self { starts_with: vec![text.into()], ..Self::default() }
    }

    /// The match with its variables replaced; a variable with alternatives gives them all.
    pub fn resolve(&self, values: &Values) -> Result<Self, Unset> {
        let all = |texts: &[String]| -> Result<Vec<String>, Unset> {
            let mut out = Vec::with_capacity(texts.len());
            for text in texts {
                out.extend(Template::from(text.as_str()).alternatives(values)?);
            }
            Ok(out)
        };
        Ok(Self {
            equals: all(&self.equals)?,
            starts_with: all(&self.starts_with)?,
            contains: all(&self.contains)?,
            matches: self.matches.clone(),
        })
    }

    /// Whether `text` fits, by the same rule as in the page.
    pub fn fits(&self, text: &str) -> bool {
        let shown = normal::label(text);
        let any = |texts: &[String], fits: fn(&str, &str) -> bool| {
            texts.iter().any(|wanted| fits(&shown, &normal::label(wanted)))
        };
        any(&self.equals, |shown, wanted| shown == wanted)
            || any(&self.starts_with, |shown, wanted| shown.starts_with(wanted))
            || any(&self.contains, |shown, wanted| shown.contains(wanted))
            || self
                .matches
                .as_deref()
                .and_then(|pattern| regex::Regex::new(pattern).ok())
                .is_some_and(|pattern| pattern.is_match(&normal::line(text)))
    }

    /// All texts of the rule, without the regular expression.
    pub fn texts(&self) -> impl Iterator<Item = &str> {
        self.equals.iter().chain(&self.starts_with).chain(&self.contains).map(String::as_str)
    }
}

impl fmt::Display for TextMatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(text) = self.equals.first() {
            write!(f, "{text:?}")
        } else if let Some(text) = self.starts_with.first() {
            write!(f, "{:?}", format!("{text}…"))
        } else if let Some(text) = self.contains.first() {
            write!(f, "{:?}", format!("…{text}…"))
        } else {
            write!(f, "/{}/", self.matches.as_deref().unwrap_or_default())
        }
    }
}

impl<'de> Deserialize<'de> for TextMatch {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TextOrRule;
        impl<'de> Visitor<'de> for TextOrRule {
            type Value = TextMatch;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text, a list of texts, or one of equals, starts_with, contains, matches")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<TextMatch, E> {
                Ok(TextMatch::equals(text))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<TextMatch, A::Error> {
                let equals = Vec::<String>::deserialize(SeqAccessDeserializer::new(seq))?;
                Ok(TextMatch { equals, ..TextMatch::default() })
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<TextMatch, A::Error> {
                let rule = TextRule::deserialize(MapAccessDeserializer::new(map))?;
                Ok(TextMatch {
                    equals: rule.equals.0,
                    starts_with: rule.starts_with.0,
                    contains: rule.contains.0,
                    matches: rule.matches,
                })
            }
        }
        deserializer.deserialize_any(TextOrRule)
    }
}

impl From<OneOrManyForm> for OneOrMany {
    fn from(form: OneOrManyForm) -> Self {
        match form {
            OneOrManyForm::One(text) => Self(vec![text]),
            OneOrManyForm::Many(texts) => Self(texts),
        }
    }
}

// === impl Condition ===

impl Condition {
    /// The element is visible.
    pub fn visible(target: Target) -> Self {
        Self { visible: Some(target), ..Self::default() }
    }

    /// The condition with its variables replaced.
    pub fn resolve(&self, values: &Values) -> Result<Self, Unset> {
        let text = |rule: &Option<TextMatch>| rule.as_ref().map(|m| m.resolve(values)).transpose();
        let target = |inner: &Option<Target>| inner.as_ref().map(|t| t.resolve(values)).transpose();
        Ok(Self {
            url: self.url.clone(),
            heading: text(&self.heading)?,
            visible: target(&self.visible)?,
            at_least: self.at_least,
            absent: target(&self.absent)?,
            text: text(&self.text)?,
        })
    }

    /// Whether no part is given; such a condition always holds.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts = Vec::new();
        if let Some(url) = &self.url {
            parts.push(format!("the address matches {url}"));
        }
        if let Some(heading) = &self.heading {
            parts.push(format!("the heading is {heading}"));
        }
        if let Some(target) = &self.visible {
            parts.push(format!("{target} is there"));
        }
        if let Some(target) = &self.absent {
            parts.push(format!("{target} is gone"));
        }
        if let Some(text) = &self.text {
            parts.push(format!("the page says {text}"));
        }
        f.write_str(&parts.join(" and "))
    }
}
