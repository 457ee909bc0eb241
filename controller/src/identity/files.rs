//! The authority's files. They appear all at once or not at all: written beside the folder, then renamed.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use super::Error;

/// The root's certificate: what the CLI and agents trust.
pub const ROOT: &str = "ca.pem";
/// The agents CA's certificate.
pub const AGENTS_CA: &str = "agents-ca.pem";
const ROOT_KEY: &str = "ca.key";
const AGENTS_KEY: &str = "agents-ca.key";

/// The contents, PEM.
pub(super) struct Files {
    pub(super) root: String,
    pub(super) root_key: String,
    pub(super) agents_ca: String,
    pub(super) agents_key: String,
}

/// The files of `folder`; none when there are none.
pub(super) fn load(folder: &Path) -> Result<Option<Files>, Error> {
    if !folder.join(ROOT).exists() {
        return Ok(None);
    }
    let read = |name: &str| {
        let path = folder.join(name);
        fs::read_to_string(&path).map_err(|source| Error::File { what: "read", path, source })
    };
    Ok(Some(Files {
        root: read(ROOT)?,
        root_key: read(ROOT_KEY)?,
        agents_ca: read(AGENTS_CA)?,
        agents_key: read(AGENTS_KEY)?,
    }))
}

/// Writes the files; `false` when others were written there meanwhile.
pub(super) fn store(folder: &Path, files: &Files) -> Result<bool, Error> {
    let making = beside(folder);
    let made = write_all(&making, files);
    let renamed = made.and_then(|()| match fs::rename(&making, folder) {
        Ok(()) => Ok(true),
        Err(_) if folder.join(ROOT).exists() => Ok(false),
        Err(source) => Err(Error::File { what: "create", path: folder.to_owned(), source }),
    });
    if !matches!(renamed, Ok(true)) {
        // Only what this call wrote itself; nothing depends on its removal.
        drop(fs::remove_dir_all(&making));
    }
    renamed
}

fn beside(folder: &Path) -> PathBuf {
    let mut name = folder.file_name().unwrap_or_default().to_owned();
    name.push(format!(".making-{}", std::process::id()));
    folder.with_file_name(name)
}

fn write_all(folder: &Path, files: &Files) -> Result<(), Error> {
    create_private(folder).map_err(|source| Error::File {
        what: "create",
        path: folder.to_owned(),
        source,
    })?;
    for (name, content, secret) in [
        (ROOT_KEY, &files.root_key, true),
        (AGENTS_KEY, &files.agents_key, true),
        (AGENTS_CA, &files.agents_ca, false),
        (ROOT, &files.root, false),
    ] {
        let path = folder.join(name);
        write(&path, content, secret).map_err(|source| Error::File { what: "write", path, source })?;
    }
    Ok(())
}

/// Makes a folder that only its owner can look into, and those above it, where they do not exist.
pub(crate) fn create_private(folder: &Path) -> std::io::Result<()> {
    if let Some(above) = folder.parent() {
        fs::create_dir_all(above)?;
    }
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::DirBuilderExt;
        builder.mode(0o700);
    }
    builder.create(folder)
}

fn write(path: &Path, content: &str, secret: bool) -> std::io::Result<()> {
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt;
        options.mode(if secret { 0o600 } else { 0o644 });
    }
    #[cfg(not(unix))]
    let _ = secret;
    let mut file = options.open(path)?;
    file.write_all(content.as_bytes())?;
    file.sync_all()
}

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn keys_are_readable_by_their_owner_only() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("identity");
        let text = |name: &str| name.to_owned();
        let files =
            Files { root: text("a"), root_key: text("b"), agents_ca: text("c"), agents_key: text("d") };
        assert!(store(&path, &files).expect("written"));
        let mode = fs::metadata(&path).expect("exists").permissions().mode();
        assert_eq!(mode & 0o777, 0o700, "the folder");
        for key in [ROOT_KEY, AGENTS_KEY] {
            let mode = fs::metadata(path.join(key)).expect("exists").permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{key}");
        }
        assert!(!store(&path, &files).expect("the first files stay"));
        assert_eq!(
            fs::read_dir(folder.path()).expect("readable").count(),
            1,
            "nothing is left beside the folder"
        );
    }
}
