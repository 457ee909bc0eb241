//! Looking for secrets where none may be, in every way of writing that they may have come there.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use regex::bytes::Regex;

/// A secret that is looked for.
#[derive(Clone)]
pub struct Canary {
    /// What it is.
    pub name: &'static str,
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// Ends of the paths where it must be; an end with `/` names a folder.
    pub homes: Vec<&'static str>,
}

/// A secret that was found where it may not be.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Leak {
    /// What it is.
    pub name: &'static str,
    /// How it was written.
    pub encoding: &'static str,
    /// Where.
    pub path: PathBuf,
}

/// All secrets in all ways of writing, ready to be looked for.
pub struct Search {
    canaries: Vec<Canary>,
    /// Per way of writing: which secret it is of, how it is called, and the pattern.
    patterns: Vec<(usize, &'static str)>,
    regex: Regex,
}

/// Shorter ones would be found by chance.
const SHORTEST: usize = 8;

impl Search {
    /// For these secrets.
    pub fn new(canaries: Vec<Canary>) -> Result<Self> {
        let (mut patterns, mut text) = (Vec::new(), String::from("(?-u)"));
        for (number, canary) in canaries.iter().enumerate() {
            anyhow::ensure!(canary.bytes.len() >= SHORTEST, "{} is too short to be looked for", canary.name);
            for (encoding, bytes) in encodings(&canary.bytes) {
                if !patterns.is_empty() {
                    text.push('|');
                }
                patterns.push((number, encoding));
                text.push('(');
                for byte in bytes {
                    // Writing to a string cannot fail.
                    let _ = write!(text, "\\x{byte:02x}");
                }
                text.push(')');
            }
        }
        Ok(Self { canaries, patterns, regex: Regex::new(&text)? })
    }

    /// Every secret in `content` that is not at home at `path`.
    pub fn look(&self, path: &Path, content: &[u8], leaks: &mut BTreeSet<Leak>) {
        for found in self.regex.captures_iter(content) {
            let Some(number) = (1..=self.patterns.len()).find(|n| found.get(*n).is_some()) else { continue };
            let Some((canary, encoding)) = self.patterns.get(number - 1).copied() else { continue };
            let Some(canary) = self.canaries.get(canary) else { continue };
            let shown = path.display().to_string();
            let is_home = canary
                .homes
                .iter()
                .any(|home| if home.ends_with('/') { shown.contains(home) } else { shown.ends_with(home) });
            if !is_home {
                leaks.insert(Leak { name: canary.name, encoding, path: path.to_owned() });
            }
        }
    }

    /// Looks through every file below `folder`, but in the folders of these names. Returns how many bytes it was.
    pub fn walk(&self, folder: &Path, but: &[&str], leaks: &mut BTreeSet<Leak>) -> Result<u64> {
        let mut bytes = 0;
        let entries = match std::fs::read_dir(folder) {
            Ok(entries) => entries,
            // A process that runs removes files meanwhile.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(0),
            Err(error) => return Err(error).with_context(|| format!("cannot read {}", folder.display())),
        };
        for entry in entries {
            let entry = entry?;
            let (path, kind) = (entry.path(), entry.file_type()?);
            if kind.is_dir() {
                let name = entry.file_name();
                if !but.iter().any(|but| name == *but) {
                    bytes += self.walk(&path, but, leaks)?;
                }
            } else if kind.is_file()
                && let Ok(content) = std::fs::read(&path)
            {
                bytes += content.len() as u64;
                self.look(&path, &content, leaks);
            }
        }
        Ok(bytes)
    }
}

/// Every way of writing that is looked for.
fn encodings(bytes: &[u8]) -> Vec<(&'static str, Vec<u8>)> {
    let hexadecimal = hex::encode(bytes);
    let mut all = vec![
        ("as it is", bytes.to_vec()),
        ("hexadecimal", hexadecimal.clone().into_bytes()),
        ("hexadecimal in capitals", hexadecimal.to_uppercase().into_bytes()),
        ("UTF-16, little end first", bytes.iter().flat_map(|byte| [*byte, 0]).collect()),
        ("UTF-16, big end first", bytes.iter().flat_map(|byte| [0, *byte]).collect()),
    ];
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    let percent: String = bytes
        .iter()
        .map(|byte| if plain(*byte) { char::from(*byte).to_string() } else { format!("%{byte:02X}") })
        .collect();
    all.push(("percent", percent.clone().into_bytes()));
    all.push(("form", percent.replace("%20", "+").into_bytes()));
    if let Ok(text) = std::str::from_utf8(bytes) {
        let json = serde_json::to_string(text).unwrap_or_default();
        all.push(("JSON", json.trim_matches('"').to_owned().into_bytes()));
    }
    // Inside a longer text that is encoded, it may begin at each of three places; what its neighbours decide is left out.
    for shift in 0..3_usize {
        let shifted = [&vec![0; shift], bytes].concat();
        for (name, engine) in [("base64", &STANDARD_NO_PAD), ("base64url", &URL_SAFE_NO_PAD)] {
            let text = engine.encode(&shifted).into_bytes();
            let first = (shift * 8).div_ceil(6);
            let last = shifted.len() * 8 / 6;
            all.push((name, text.get(first..last).unwrap_or_default().to_vec()));
        }
    }
    let mut seen = BTreeSet::new();
    all.retain(|(_, bytes)| bytes.len() >= SHORTEST && seen.insert(bytes.clone()));
    all
}

impl std::fmt::Debug for Canary {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Canary").field("name", &self.name).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Search {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Search").field("canaries", &self.canaries).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The search itself finds a secret however it was written, and lets it be at home.
    #[test]
    fn a_planted_secret_is_found_in_every_encoding() {
        let secret = b"c4n4ry / s\"cret+0123456789";
        let canary =
            Canary { name: "password", bytes: secret.to_vec(), homes: vec!["home/secret.key", "profile/"] };
        let search = Search::new(vec![canary]).expect("patterns");
        let found = |content: &[u8], path: &str| {
            let mut leaks = BTreeSet::new();
            search.look(Path::new(path), content, &mut leaks);
            leaks.into_iter().map(|leak| leak.encoding).collect::<Vec<_>>()
        };
        assert_eq!(found(secret, "/x/controller.err"), ["as it is"]);
        for before in 0..5 {
            let text = [&vec![b'x'; before], &secret[..], b"yz"].concat();
            assert_eq!(
                found(base64::engine::general_purpose::STANDARD.encode(&text).as_bytes(), "a"),
                ["base64"]
            );
            let url = base64::engine::general_purpose::URL_SAFE.encode(&text);
            assert_eq!(found(url.as_bytes(), "a").len(), 1, "{url}");
        }
        let wide: Vec<u8> = secret.iter().flat_map(|byte| [*byte, 0]).collect();
        for content in [
            hex::encode(secret).into_bytes(),
            hex::encode_upper(secret).into_bytes(),
            wide,
            b"?p=c4n4ry%20%2F%20s%22cret%2B0123456789&q".to_vec(),
            b"p=c4n4ry+%2F+s%22cret%2B0123456789".to_vec(),
            b"{\"p\":\"c4n4ry / s\\\"cret+0123456789\"}".to_vec(),
        ] {
            assert_eq!(found(&content, "a").len(), 1, "{}", String::from_utf8_lossy(&content));
        }
        assert_eq!(found(secret, "/x/home/secret.key"), Vec::<&str>::new());
        assert_eq!(found(secret, "/x/profile/deep/file"), Vec::<&str>::new());
        assert_eq!(found(&secret[..20], "a"), Vec::<&str>::new());
    }
}
