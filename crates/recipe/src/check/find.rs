//! The rules for finding things: locators, texts, variables, patterns.

use regex::Regex;

use super::Checker;
use crate::locate::{Condition, Locator, Target, TextMatch};
use crate::schema::Job;
use crate::template::Template;

/// ARIA roles that the engine knows how to find.
pub const ROLES: &[&str] = &[
    "alert",
    "article",
    "banner",
    "button",
    "cell",
    "checkbox",
    "combobox",
    "dialog",
    "form",
    "gridcell",
    "heading",
    "img",
    "link",
    "list",
    "listbox",
    "listitem",
    "main",
    "menuitem",
    "navigation",
    "option",
    "radio",
    "region",
    "row",
    "searchbox",
    "spinbutton",
    "status",
    "switch",
    "tab",
    "table",
    "textbox",
];

/// Variables that a recipe may use, by prefix or whole name.
const VARIABLES: &[&str] = &[
    "listing.title",
    "listing.description",
    "listing.price",
    "listing.price_whole",
    "listing.currency",
    "listing.category",
    "listing.location",
    "listing.sku",
    "listing.photos",
    "listing.attributes.",
    "site.category",
    "site.category_leaf",
    "site.condition",
    "site.location",
    "site.location_query",
    "credential.username",
    "credential.password",
    "pack.paths.",
    "pack.labels.",
];

impl Checker {
    pub(super) fn condition(&mut self, path: &str, condition: &Condition) {
        if let Some(url) = &condition.url {
            self.regex(&format!("{path}.url"), url);
        }
        for (name, text) in [("heading", &condition.heading), ("text", &condition.text)] {
            if let Some(text) = text {
                self.text(&format!("{path}.{name}"), text);
            }
        }
        self.maybe_target(&format!("{path}.visible"), condition.visible.as_ref());
        self.maybe_target(&format!("{path}.absent"), condition.absent.as_ref());
    }

    pub(super) fn maybe_target(&mut self, path: &str, target: Option<&Target>) {
        if let Some(target) = target {
            self.target(path, target);
        }
    }

    pub(super) fn target(&mut self, path: &str, target: &Target) {
        for (n, locator) in target.any.iter().enumerate() {
            self.locator(&format!("{path}[{n}]"), locator);
        }
    }

    fn locator(&mut self, path: &str, locator: &Locator) {
        let ways =
            [locator.role.is_some(), locator.label.is_some(), locator.text.is_some(), locator.css.is_some()];
        if ways.into_iter().filter(|way| *way).count() != 1 {
            self.say(path, "needs exactly one of role, label, text, css");
        }
        if let Some(role) = locator.role.as_deref().filter(|role| !ROLES.contains(role)) {
            self.say(
                &format!("{path}.role"),
                &format!("{role:?} is no role the engine knows; use {}", ROLES.join(", ")),
            );
        }
        if locator.name.is_some() && locator.role.is_none() {
            self.say(&format!("{path}.name"), "goes with role only; for a form control's label write label");
        }
        for (key, text) in [
            ("name", &locator.name),
            ("label", &locator.label),
            ("text", &locator.text),
            ("shows", &locator.shows),
        ] {
            if let Some(text) = text {
                self.text(&format!("{path}.{key}"), text);
            }
        }
        if let Some(css) = &locator.css {
            for message in css_problems(css) {
                self.say(&format!("{path}.css"), &message);
            }
        }
        self.maybe_target(&format!("{path}.within"), locator.within.as_ref());
        self.maybe_target(&format!("{path}.having"), locator.having.as_ref());
        self.maybe_target(&format!("{path}.after"), locator.after.as_ref());
    }

    pub(super) fn text(&mut self, path: &str, text: &TextMatch) {
        if text.texts().next().is_none() && text.matches.is_none() {
            self.say(path, "is empty and would match any text; give a text");
        }
        for part in text.texts() {
            self.template(path, &Template::from(part));
        }
        if let Some(pattern) = &text.matches {
            self.regex(&format!("{path}.matches"), pattern);
        }
    }

    pub(super) fn path_template(&mut self, path: &str, template: &Template) {
        let text = template.as_str();
        if !text.starts_with("{{pack.paths.") && (!text.starts_with('/') || text.starts_with("//")) {
            let message =
                "leads off the site; write a path that begins with a single /, or {{pack.paths.NAME}}";
            self.say(path, message);
        }
        self.template(path, template);
    }

    pub(super) fn template(&mut self, path: &str, template: &Template) {
        for name in template.variables() {
            let known = VARIABLES.iter().any(|known| {
                name == *known
                    || (known.ends_with('.') && name.len() > known.len() && name.starts_with(known))
            });
            if !known {
                self.say(path, &format!("{{{{{name}}}}} is no variable; there are {}", VARIABLES.join(", ")));
            } else if name.starts_with("credential.") && !(self.job == Some(Job::Login) && self.in_secret) {
                self.say(path, "uses a credential; only a fill with `secret: true` in a login recipe may");
            }
        }
    }

    pub(super) fn regex(&mut self, path: &str, pattern: &str) {
        if let Err(error) = Regex::new(pattern) {
            let reason = error.to_string();
            let reason = reason.lines().last().unwrap_or("unknown");
            self.say(path, &format!("is no regular expression: {}", reason.trim_start_matches("error: ")));
        }
    }
}

/// What makes a CSS selector break with the site's next deployment.
fn css_problems(css: &str) -> Vec<String> {
    let mut problems = Vec::new();
    let trimmed = css.trim();
    if trimmed.starts_with('/') || trimmed.starts_with("(/") || trimmed.starts_with("xpath") {
        return vec![
            "is XPath; positions in the document change with each layout: use role and name, label or text"
                .into(),
        ];
    }
    let outside = outside_brackets(trimmed);
    if outside.contains('.') || trimmed.contains("[class") {
        problems.push(
            "uses a class name; sites generate those anew on each deployment: use role and name, label, text or an \
             attribute with a meaning"
                .into(),
        );
    }
    for id in
        outside.split('#').skip(1).map(|rest| rest.split(|c: char| !is_name(c)).next().unwrap_or_default())
    {
        let generated =
            id.len() > 24 || id.chars().any(|c| c.is_ascii_digit() || c == ':') || id.contains("_r_");
        if generated || id.is_empty() {
            problems.push(format!(
                "uses the id {id:?}, which looks generated and changes on each load: use role and name, label or text"
            ));
        }
    }
    problems
}

fn is_name(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '_' | '-')
}

/// The selector without what stands in square brackets or in the parentheses of `:nth-…`.
fn outside_brackets(css: &str) -> String {
    let mut out = String::new();
    let mut depth = 0_u32;
    for c in css.chars() {
        match c {
            '[' => depth += 1,
            ']' => depth = depth.saturating_sub(1),
            c if depth == 0 => out.push(c),
            _ => {}
        }
    }
    out
}
