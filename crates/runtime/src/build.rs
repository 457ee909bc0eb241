//! Which build this is.

/// The version of the workspace, such as `0.1.0`.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Version and, in release builds, commit: `0.1.0 (1f2e3d4c5b6a)`. For `--version` of command lines.
pub const DESCRIPTION: &str = env!("TRADEPOST_BUILD_DESCRIPTION");

/// The commit this was built from (12 hex digits); `None` in development builds and outside a git work tree.
pub const fn commit() -> Option<&'static str> {
    let hash = env!("TRADEPOST_BUILD_COMMIT");
    if hash.is_empty() { None } else { Some(hash) }
}

/// [`DESCRIPTION`] as an owned text, for messages.
pub fn describe() -> String {
    DESCRIPTION.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn description_begins_with_the_version() {
        assert!(describe().starts_with(VERSION));
    }
}
