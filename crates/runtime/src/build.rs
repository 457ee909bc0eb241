//! Which build this is.

/// The version of the workspace, such as `0.1.0`.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The commit this was built from (12 hex digits), or `None` when it was built outside a git work tree.
pub const fn commit() -> Option<&'static str> {
    let hash = env!("TRADEPOST_BUILD_COMMIT");
    if hash.is_empty() { None } else { Some(hash) }
}

/// Version and commit in one line, as `--version` shows it.
pub fn describe() -> String {
    match commit() {
        Some(hash) => format!("{VERSION} ({hash})"),
        None => VERSION.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn description_begins_with_the_version() {
        assert!(describe().starts_with(VERSION));
    }
}
