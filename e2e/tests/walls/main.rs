//! The walls between the parts of this workspace, kept by looking at the sources.
//!
//! The table of who may use whom is in `docs/ARCHITECTURE.md`; here it is [`rules`]. A failure names file, line and rule. When a
//! new need is sound, the table is changed in both places, in the same commit.

#![expect(clippy::unwrap_used, reason = "helpers of tests, which Clippy does not see as tests")]

mod rules;
mod source;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use source::Source;

/// More than a reader keeps in mind; the aim is 500.
const LONGEST_FILE: usize = 600;

fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here).to_owned()
}

/// Fails with every line of `found`.
fn none(found: Vec<String>) {
    assert!(found.is_empty(), "\n{}\n", found.join("\n"));
}

#[test]
fn crates_depend_only_on_those_the_table_allows() {
    let mut found = Vec::new();
    for (folder, allowed) in rules::CRATES {
        let manifest = root().join(folder).join("Cargo.toml");
        let text = std::fs::read_to_string(&manifest).unwrap();
        for (line, name) in source::own_dependencies(&text) {
            if !allowed.contains(&name.as_str()) {
                found.push(format!(
                    "{folder}/Cargo.toml:{line}: {folder} must not depend on tradepost-{name}"
                ));
            }
        }
    }
    let known: BTreeSet<&str> = rules::CRATES.iter().map(|(folder, _)| *folder).collect();
    for folder in source::members(&root()) {
        if !known.contains(folder.as_str()) && folder != "e2e" {
            found
                .push(format!("{folder}/Cargo.toml:1: not in the table: add it to e2e/tests/walls/rules.rs"));
        }
    }
    none(found);
}

#[test]
fn foreign_types_stop_at_their_walls() {
    let mut found = Vec::new();
    for source in Source::all(&root()) {
        for confined in rules::CONFINED {
            if !confined.covers(&source.path) {
                continue;
            }
            for (line, name) in source.mentions(confined.names) {
                found.push(format!("{}:{line}: {name} is used, but {}", source.path, confined.rule));
            }
        }
    }
    none(found);
}

#[test]
fn modules_import_only_downwards() {
    let mut found = Vec::new();
    for source in Source::all(&root()) {
        for layer in rules::LAYERS {
            if !layer.covers(&source.path) {
                continue;
            }
            for (line, path) in source.imports_of(layer.module) {
                found.push(format!("{}:{line}: {path} is imported, but {}", source.path, layer.rule));
            }
        }
    }
    none(found);
}

#[test]
fn files_stay_short() {
    let found = source::rust_files(&root()).into_iter().filter_map(|path| {
        let lines = std::fs::read_to_string(root().join(&path)).unwrap().lines().count();
        (lines > LONGEST_FILE).then(|| {
            format!("{path}:{lines}: a file has at most {LONGEST_FILE} lines; split it by what it does")
        })
    });
    none(found.collect());
}

#[test]
fn both_engines_have_the_same_migrations() {
    let names = |engine: &str| -> BTreeSet<String> {
        let folder = root().join("migrations").join(engine);
        let entries =
            std::fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    };
    let (postgres, sqlite) = (names("postgres"), names("sqlite"));
    assert!(!postgres.is_empty());
    let mut found = Vec::new();
    for (has, lacks, missing) in [
        ("postgres", "sqlite", postgres.difference(&sqlite)),
        ("sqlite", "postgres", sqlite.difference(&postgres)),
    ] {
        for name in missing {
            found.push(format!("migrations/{has}/{name}: migrations/{lacks} has no file of that name"));
        }
    }
    let mut numbers: BTreeMap<&str, &str> = BTreeMap::new();
    for name in &postgres {
        let number = name.split('_').next().unwrap_or_default();
        if let Some(other) = numbers.insert(number, name) {
            found.push(format!("migrations/postgres/{name}: has the number of {other}"));
        }
    }
    none(found);
}

#[test]
fn every_reason_has_its_page_and_every_page_its_reason() {
    let path = "controller/src/service/error.rs";
    let text = std::fs::read_to_string(root().join(path)).unwrap();
    let reasons = source::reasons(&text);
    assert!(!reasons.is_empty(), "{path}: no reason found: are they still text literals in capitals?");
    let mut found = Vec::new();
    for (line, reason) in &reasons {
        let page = format!("docs/errors/{reason}.md");
        if std::fs::read_to_string(root().join(&page)).map_or(0, |page| page.trim().len()) == 0 {
            found
                .push(format!("{path}:{line}: {reason} needs the page {page}: what it means and what to do"));
        }
    }
    let known: BTreeSet<&str> = reasons.iter().map(|(_, reason)| reason.as_str()).collect();
    let pages = std::fs::read_dir(root().join("docs/errors")).into_iter().flatten();
    for page in
        pages.map(|page| page.unwrap().path()).filter(|page| page.extension().is_some_and(|it| it == "md"))
    {
        let name = page.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        if name != "README" && !known.contains(name.as_str()) {
            found.push(format!("docs/errors/{name}.md:1: no reason has this name any more; delete the page"));
        }
    }
    none(found);
}
