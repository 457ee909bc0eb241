//! Sources as the rules see them: without comments, texts and tests, so that only code counts.

use std::path::Path;

/// A Rust file of the product.
pub(crate) struct Source {
    /// From the root, with `/`.
    pub(crate) path: String,
    code: String,
}

/// Every Rust file of the workspace, tests too, by its path from the root.
pub(crate) fn rust_files(root: &Path) -> Vec<String> {
    let mut files = Vec::new();
    let mut folders = members(root);
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(root.join(&folder)).unwrap() {
            let entry = entry.unwrap();
            let name = entry.file_name().into_string().unwrap();
            let path = format!("{folder}/{name}");
            if entry.file_type().unwrap().is_dir() {
                if name != "target" && name != "node_modules" {
                    folders.push(path);
                }
            } else if Path::new(&name).extension().is_some_and(|extension| extension == "rs") {
                files.push(path);
            }
        }
    }
    files.sort();
    files
}

/// The folders of the workspace's members.
pub(crate) fn members(root: &Path) -> Vec<String> {
    let manifest = std::fs::read_to_string(root.join("Cargo.toml")).unwrap();
    let list = manifest.split_once("members = [").and_then(|(_, rest)| rest.split_once(']')).unwrap().0;
    list.split(',')
        .map(|item| item.trim().trim_matches('"').to_owned())
        .filter(|item| !item.is_empty())
        .collect()
}

/// The crates of ours that a manifest depends on outside tests, less their `tradepost-`, with their lines.
pub(crate) fn own_dependencies(manifest: &str) -> Vec<(usize, String)> {
    let mut section = "";
    let mut found = Vec::new();
    for (index, line) in manifest.lines().enumerate() {
        let line = line.trim();
        if line.starts_with('[') {
            section = line.trim_matches(['[', ']']);
        }
        let counts = section.ends_with("dependencies") && !section.ends_with("dev-dependencies");
        if let (true, Some(rest)) = (counts, line.strip_prefix("tradepost-")) {
            let end = rest.find(['.', ' ', '=']).unwrap_or(rest.len());
            found.push((index + 1, rest[..end].to_owned()));
        }
    }
    found
}

/// The reasons in the text of `service/error.rs`, with their lines: every text literal in capitals.
pub(crate) fn reasons(text: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for (index, line) in without_tests(text).lines().enumerate() {
        let code = line.split("//").next().unwrap_or_default();
        for literal in code.split('"').skip(1).step_by(2) {
            let is_reason = literal.len() > 2
                && literal
                    .chars()
                    .all(|letter| letter.is_ascii_uppercase() || letter.is_ascii_digit() || letter == '_');
            if is_reason {
                found.push((index + 1, literal.to_owned()));
            }
        }
    }
    found
}

// === impl Source ===

impl Source {
    /// Every file of the product: tests, examples, benchmarks and the end-to-end crate are exempt.
    pub(crate) fn all(root: &Path) -> Vec<Self> {
        let exempt = |path: &str| {
            path.starts_with("e2e/")
                || path
                    .split('/')
                    .any(|part| matches!(part, "tests" | "benches" | "examples" | "tests.rs" | "conformance"))
        };
        let files = rust_files(root).into_iter().filter(|path| !exempt(path));
        files
            .map(|path| {
                let text = std::fs::read_to_string(root.join(&path)).unwrap();
                Self { code: without_tests(&without_comments_and_texts(&text)).to_owned(), path }
            })
            .collect()
    }

    /// Lines that use one of `names`: as the beginning of a path (`sqlx::query`, `use sqlx;`, `::std::fs`), or as a bare word.
    pub(crate) fn mentions(&self, names: &[&'static str]) -> Vec<(usize, &'static str)> {
        let mut found = Vec::new();
        for (index, line) in self.code.lines().enumerate() {
            let hit = names.iter().find(|name| words(line, name).any(|end| is_use(line, end, name)));
            found.extend(hit.map(|name| (index + 1, *name)));
        }
        found
    }

    /// Lines that import `module` (`crate::grpc`), also out of a group (`use crate::{grpc::Status, …}`).
    pub(crate) fn imports_of(&self, module: &'static str) -> Vec<(usize, &'static str)> {
        let grouped = module.strip_prefix("crate::").unwrap_or(module);
        let mut found = Vec::new();
        let mut in_group = false;
        for (index, line) in self.code.lines().enumerate() {
            if line.contains("use crate::{") {
                in_group = true;
            }
            let in_this_group = in_group && words(line, grouped).next().is_some();
            if words(line, module).next().is_some() || in_this_group {
                found.push((index + 1, module));
            }
            if in_group && line.contains(';') {
                in_group = false;
            }
        }
        found
    }
}

/// The ends of every whole-word occurrence of `name`.
fn words<'a>(line: &'a str, name: &'a str) -> impl Iterator<Item = usize> + 'a {
    let word = |letter: char| letter.is_alphanumeric() || letter == '_';
    line.match_indices(name).filter_map(move |(start, _)| {
        let end = start + name.len();
        let open = !line[..start].ends_with(word) && !line[end..].starts_with(word);
        open.then_some(end)
    })
}

/// Whether the word that ends at `end` names the crate or path, and is no field or module of that name.
fn is_use(line: &str, end: usize, name: &str) -> bool {
    let (before, after) = (&line[..end - name.len()], &line[end..]);
    match name {
        "unsafe" => after.trim_start().starts_with(['{', 'f', 'i', 't', 'e']) || after.trim().is_empty(),
        "SystemTime" | "Instant" => true,
        // A path inside a crate: `std::env::var` and, after `use std::env`, `env::var`.
        _ if name.contains("::") => !before.ends_with("::") || before.ends_with("std::"),
        _ if before.ends_with("::") => {
            before.trim_end_matches("::").ends_with([' ', '(', '<']) || before.trim() == "::"
        }
        _ => after.starts_with("::") || after.starts_with('(') || before.trim_start().starts_with("use "),
    }
}

/// The code above the first inline test module, which by custom is the last thing of a file.
fn without_tests(code: &str) -> &str {
    let mut offset = 0;
    let mut marked = None;
    for line in code.split_inclusive('\n') {
        match (line.trim(), marked) {
            ("#[cfg(test)]", _) => marked = Some(offset),
            (text, Some(start)) if text.starts_with("mod ") && text.ends_with('{') => return &code[..start],
            (text, _) if !text.starts_with("#[") => marked = None,
            _ => {}
        }
        offset += line.len();
    }
    code
}

/// Blanks comments and text literals; lines stay where they are.
fn without_comments_and_texts(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut kept = String::with_capacity(text.len());
    let mut rest = 0;
    let blank = |kept: &mut String, piece: &str| {
        kept.extend(piece.chars().map(|letter| if letter == '\n' { '\n' } else { ' ' }));
    };
    while rest < text.len() {
        let here = &text[rest..];
        let word_before = rest > 0 && (bytes[rest - 1].is_ascii_alphanumeric() || bytes[rest - 1] == b'_');
        let length = if here.starts_with("//") {
            here.find('\n').unwrap_or(here.len())
        } else if here.starts_with("/*") {
            here.find("*/").map_or(here.len(), |end| end + 2)
        } else if let (Some(hashes), false) = (raw_text(here), word_before) {
            let close = format!("\"{}", "#".repeat(hashes));
            let open = 2 + hashes;
            here[open..].find(&close).map_or(here.len(), |end| open + end + close.len())
        } else if here.starts_with('"') {
            text_length(here)
        } else if here.starts_with("'\"'") || here.starts_with("'\\\"'") {
            here[1..].find('\'').map_or(here.len(), |end| end + 2)
        } else {
            let letter = here.chars().next().map_or(1, char::len_utf8);
            kept.push_str(&here[..letter]);
            rest += letter;
            continue;
        };
        blank(&mut kept, &here[..length]);
        rest += length;
    }
    kept
}

/// The number of hashes when a raw text begins here.
fn raw_text(here: &str) -> Option<usize> {
    let after = here.strip_prefix('r')?;
    let hashes = after.len() - after.trim_start_matches('#').len();
    after[hashes..].starts_with('"').then_some(hashes)
}

/// The length of the text literal that begins here, with its quotes.
fn text_length(here: &str) -> usize {
    let mut escaped = false;
    for (index, letter) in here.char_indices().skip(1) {
        match letter {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return index + 1,
            _ => {}
        }
    }
    here.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(text: &str) -> Source {
        let code = without_tests(&without_comments_and_texts(text)).to_owned();
        Source { path: "x.rs".to_owned(), code }
    }

    #[test]
    fn only_code_counts() {
        let text = "// sqlx::query\nlet a = \"sqlx::query\";\nlet b = r#\"sqlx::\"q\" \"#;\nlet c = '\"';\nuse sqlx::Row;\n\
                    let d = sqlx::query();\nlet e = self.sqlx;\n#[cfg(test)]\nmod tests {\n use sqlx::X;\n}\n";
        let lines: Vec<usize> = source(text).mentions(&["sqlx"]).into_iter().map(|(line, _)| line).collect();
        assert_eq!(lines, [5, 6]);
    }

    #[test]
    fn paths_of_other_modules_are_not_mistaken() {
        let text = "let x = crate::config::tokio;\nuse crate::session::prost;\nuse my_tonic::x;\nimpl ::tonic::Y {}\n\
                    unsafe { x() }\nlet unsafe_name = 1;\nstd::env::consts::OS;\nx.map(std::env::var);\nenv::var(y);\nmy::env::var(z);\n";
        let found = source(text).mentions(&["tokio", "prost", "tonic", "unsafe", "env::var"]);
        let lines: Vec<usize> = found.into_iter().map(|(line, _)| line).collect();
        assert_eq!(lines, [4, 5, 8, 9]);
    }

    #[test]
    fn imports_are_found_in_groups_too() {
        let text =
            "use crate::{\n    grpc::Status,\n    service,\n};\nlet grpc = 1;\ncrate::grpc::serve();\n";
        let lines: Vec<usize> =
            source(text).imports_of("crate::grpc").into_iter().map(|(line, _)| line).collect();
        assert_eq!(lines, [2, 6]);
    }

    #[test]
    fn dependencies_of_tests_do_not_count() {
        let manifest = "[dependencies]\ntradepost-domain.workspace = true\nserde = \"1\"\n[dev-dependencies]\n\
                        tradepost-testkit.workspace = true\n[target.'cfg(unix)'.dependencies]\ntradepost-store = \"1\"\n";
        assert_eq!(own_dependencies(manifest), [(2, "domain".to_owned()), (7, "store".to_owned())]);
    }

    #[test]
    fn reasons_are_the_literals_in_capitals() {
        let text = "enum R {}\n  A = \"ACCOUNT_BUSY\", Kind; // \"NOT_ME\"\n let s = \"Text\";\n";
        assert_eq!(reasons(text), [(2, "ACCOUNT_BUSY".to_owned())]);
    }
}
