//! The files of the pages, built into the program.
//!
//! Sources name classes `c-…`. What is served has a generated name in place of each, new with every start, as a site
//! whose style sheet is compiled anew with each deploy: nothing that lasts can be built on class names.

use std::collections::BTreeMap;

use sha2::{Digest as _, Sha256};
use tradepost_runtime::ids::Ids;

const SHELL: &str = include_str!("../assets/shell.html");
const LOGIN: &str = include_str!("../assets/login.html");

const FILES: &[(&str, &str, &str)] = &[
    ("site.css", "text/css; charset=utf-8", include_str!("../assets/site.css")),
    ("composer.css", "text/css; charset=utf-8", include_str!("../assets/composer.css")),
    ("dom.js", JAVASCRIPT, include_str!("../assets/dom.js")),
    ("frame.js", JAVASCRIPT, include_str!("../assets/frame.js")),
    ("icons.js", JAVASCRIPT, include_str!("../assets/icons.js")),
    ("browse.js", JAVASCRIPT, include_str!("../assets/browse.js")),
    ("chooser.js", JAVASCRIPT, include_str!("../assets/chooser.js")),
    ("composer.js", JAVASCRIPT, include_str!("../assets/composer.js")),
    ("controls.js", JAVASCRIPT, include_str!("../assets/controls.js")),
    ("uploads.js", JAVASCRIPT, include_str!("../assets/uploads.js")),
    ("audience.js", JAVASCRIPT, include_str!("../assets/audience.js")),
    ("preview.js", JAVASCRIPT, include_str!("../assets/preview.js")),
    ("price.js", JAVASCRIPT, include_str!("../assets/price.js")),
    ("selling.js", JAVASCRIPT, include_str!("../assets/selling.js")),
    ("item.js", JAVASCRIPT, include_str!("../assets/item.js")),
    ("missing.js", JAVASCRIPT, include_str!("../assets/missing.js")),
];

const JAVASCRIPT: &str = "text/javascript; charset=utf-8";

/// The files as served.
#[derive(Debug)]
pub(crate) struct Assets {
    /// Part of each file's address, new with every start, so that browsers may keep the files.
    pub(crate) build: String,
    shell: String,
    login: String,
    files: BTreeMap<&'static str, (&'static str, String)>,
}

// === impl Assets ===

impl Assets {
    /// Generates this start's class names.
    pub(crate) fn new(ids: &Ids) -> Self {
        let mut salt = [0_u8; 8];
        ids.fill(&mut salt);
        let hashed = |source: &str| hash_classes(source, &salt);
        let files = FILES.iter().map(|&(name, media, source)| (name, (media, hashed(source)))).collect();
        Self { build: hex::encode(salt), shell: hashed(SHELL), login: hashed(LOGIN), files }
    }

    /// Media type and contents of a file.
    pub(crate) fn file(&self, name: &str) -> Option<(&'static str, &str)> {
        self.files.get(name).map(|(media, content)| (*media, content.as_str()))
    }

    /// A page: the shell, with the script that fills it and the data that the script needs.
    pub(crate) fn page(&self, title: &str, script: &str, boot: &serde_json::Value) -> String {
        // "<" would end the script element early.
        let boot = boot.to_string().replace('<', "\\u003c");
        fill(
            &self.shell,
            &[("build", &self.build), ("title", &escape(title)), ("script", script), ("boot", &boot)],
        )
    }

    /// The login form.
    pub(crate) fn login(&self, email: &str, next: &str, message: Option<&str>) -> String {
        let message =
            message.map_or_else(String::new, |text| format!("<p role=\"alert\">{}</p>", escape(text)));
        let (email, next) = (escape(email), escape(next));
        fill(
            &self.login,
            &[("build", &self.build), ("email", &email), ("next", &next), ("message", &message)],
        )
    }
}

/// Puts `values` in the place of `{{name}}`. Values are put in once: what they contain is not filled again.
fn fill(template: &str, values: &[(&str, &str)]) -> String {
    let mut filled = String::with_capacity(template.len() + 1024);
    let mut rest = template;
    while let Some((before, after)) = rest.split_once("{{") {
        let Some((name, after)) = after.split_once("}}") else { break };
        let value = values.iter().find(|(known, _)| *known == name).map_or("", |(_, value)| *value);
        filled.push_str(before);
        filled.push_str(value);
        rest = after;
    }
    filled.push_str(rest);
    filled
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// Replaces each word `c-…` by a generated one.
fn hash_classes(source: &str, salt: &[u8]) -> String {
    let mut hashed = String::with_capacity(source.len());
    let word = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    let mut rest = source;
    while !rest.is_empty() {
        let length = rest.find(|c| !word(c)).unwrap_or(rest.len());
        let (token, after) = rest.split_at(length);
        if token.strip_prefix("c-").is_some_and(|name| name.starts_with(|c: char| c.is_ascii_lowercase())) {
            let digest = Sha256::new().chain_update(salt).chain_update(token).finalize();
            hashed.push('x');
            hashed.push_str(&hex::encode(&digest[..4]));
        } else {
            hashed.push_str(token);
        }
        let gap = after.find(word).unwrap_or(after.len());
        hashed.push_str(&after[..gap]);
        rest = &after[gap..];
    }
    hashed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn class_names_are_generated_and_equal_across_files() {
        let css = hash_classes(".c-card:hover { --c-x: 1; color: var(--public-c-x) }", b"1");
        let js = hash_classes(r#"h("div", { class: "c-card" })"#, b"1");
        let name = css[1..].split(':').next().expect("a class");
        assert!(name.starts_with('x') && js.contains(name), "{css} {js}");
        assert!(css.contains("--c-x") && css.contains("--public-c-x"), "{css}");
        assert_ne!(css, hash_classes(".c-card:hover { --c-x: 1; color: var(--public-c-x) }", b"2"));
    }

    #[test]
    fn page_data_cannot_end_the_script_element() {
        let assets = Assets::new(&Ids::seeded(1));
        let page = assets.page("<b>", "item.js", &serde_json::json!({"title": "</script><b>{{build}}"}));
        assert!(!page.contains("</script><b>") && page.contains("&lt;b&gt;"));
        assert!(page.contains("{{build}}"), "a value was filled again");
    }
}
