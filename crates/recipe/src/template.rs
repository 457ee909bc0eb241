//! Texts with variables: `"{{listing.title}}"`.

use serde::{Deserialize, Serialize};

use crate::values::Values;

/// A text in a recipe that may name variables in double braces.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Template(String);

/// A variable that has no value in this job.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{{{{{0}}}}} has no value in this job")]
pub struct Unset(pub String);

/// One part of a template.
enum Part<'a> {
    Text(&'a str),
    Variable(&'a str),
}

impl Template {
    /// The text as written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The names of its variables.
    pub fn variables(&self) -> impl Iterator<Item = &str> {
        parts(&self.0).filter_map(|part| match part {
            Part::Variable(name) => Some(name),
            Part::Text(_) => None,
        })
    }

    /// The text with every variable replaced by its (first) value.
    pub fn render(&self, values: &Values) -> Result<String, Unset> {
        let mut out = String::with_capacity(self.0.len());
        for part in parts(&self.0) {
            match part {
                Part::Text(text) => out.push_str(text),
                Part::Variable(name) => {
                    out.push_str(values.first(name).ok_or_else(|| Unset(name.to_owned()))?);
                }
            }
        }
        Ok(out)
    }

    /// All alternatives: those of the variable when the template is nothing but one, else the rendered text.
    pub fn alternatives(&self, values: &Values) -> Result<Vec<String>, Unset> {
        let mut whole = parts(&self.0);
        if let (Some(Part::Variable(name)), None) = (whole.next(), whole.next()) {
            return values.all(name).map(<[String]>::to_vec).ok_or_else(|| Unset(name.to_owned()));
        }
        Ok(vec![self.render(values)?])
    }

    /// Whether the text is there and not empty once rendered.
    pub fn is_set(&self, values: &Values) -> bool {
        self.render(values).is_ok_and(|text| !text.trim().is_empty())
    }
}

impl From<&str> for Template {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

impl From<String> for Template {
    fn from(text: String) -> Self {
        Self(text)
    }
}

fn parts(text: &str) -> impl Iterator<Item = Part<'_>> {
    let mut rest = text;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let open = rest.find("{{");
        if open == Some(0)
            && let Some(close) = rest.find("}}")
        {
            let name = rest[2..close].trim();
            rest = &rest[close + 2..];
            return Some(Part::Variable(name));
        }
        let end = open.filter(|at| *at > 0).unwrap_or(rest.len());
        let (text, after) = rest.split_at(end);
        rest = after;
        Some(Part::Text(text))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_are_replaced_and_lists_become_alternatives() {
        let mut values = Values::default();
        values.set("listing.title", "Oak {{table}}");
        values.set_all("pack.labels.save", vec!["Save".into(), "Spara".into()]);
        let render = |text: &str| Template::from(text).render(&values);
        assert_eq!(render("a {{ listing.title }} b").as_deref(), Ok("a Oak {{table}} b"));
        assert_eq!(render("{{nothing}}"), Err(Unset("nothing".into())));
        assert_eq!(render("plain {{"), Ok("plain {{".into()));
        let both = Template::from("{{pack.labels.save}}").alternatives(&values);
        assert_eq!(both, Ok(vec!["Save".into(), "Spara".into()]));
    }
}
