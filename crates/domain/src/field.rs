//! Violations of input rules, collected so that a caller learns all of them at once.

use std::fmt;

/// One rule that one field breaks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// The field as the caller wrote it, e.g. `price` or `photos[2]`.
    pub field: String,
    /// What is wrong, the limit, and how to mend it, in one sentence.
    pub description: String,
}

/// All violations of one input; never empty when it is an error.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Violations(pub Vec<Violation>);

impl Violations {
    /// None yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds one.
    pub fn push(&mut self, field: impl Into<String>, description: impl Into<String>) {
        self.0.push(Violation { field: field.into(), description: description.into() });
    }

    /// Keeps the value of `result`, or records its error under `field`.
    pub fn check<T, E: fmt::Display>(&mut self, field: &str, result: Result<T, E>) -> Option<T> {
        result.map_err(|error| self.push(field, error.to_string())).ok()
    }

    /// Checks that `text` has between `min` and `max` characters (not bytes) once trimmed, and no control characters
    /// but line breaks and tabs; returns it trimmed.
    pub fn text(&mut self, field: &str, text: &str, min: usize, max: usize) -> String {
        let trimmed = text.trim();
        let length = trimmed.chars().count();
        if length < min && length == 0 {
            self.push(field, "is missing");
        } else if length < min {
            self.push(field, format!("has {length} characters; at least {min} are needed"));
        } else if length > max {
            self.push(field, format!("has {length} characters; at most {max} are allowed"));
        }
        if trimmed.chars().any(|c| c.is_control() && !matches!(c, '\n' | '\r' | '\t')) {
            self.push(field, "contains control characters; remove them");
        }
        trimmed.to_owned()
    }

    /// `Ok(value())` when nothing was recorded.
    pub fn into_result<T>(self, value: impl FnOnce() -> Option<T>) -> Result<T, Self> {
        if self.0.is_empty() {
            value().ok_or_else(|| {
                let mut violations = Self::new();
                violations.push("request", "is incomplete");
                violations
            })
        } else {
            Err(self)
        }
    }
}

impl fmt::Display for Violations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, violation) in self.0.iter().enumerate() {
            if n > 0 {
                f.write_str("; ")?;
            }
            write!(f, "{}: {}", violation.field, violation.description)?;
        }
        Ok(())
    }
}

impl std::error::Error for Violations {}
