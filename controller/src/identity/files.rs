//! The authority's files.
//!
//! The folder appears all at once or not at all: it is written beside its place, then renamed. Later changes write new files
//! first and replace `trust.json` last, atomically; what that file does not name does not count. Controllers that share the
//! folder look at it every few seconds.
//!
//! | file | what it is |
//! |---|---|
//! | `ca.pem` | every root that clients are to trust now; the signing one first |
//! | `trust.json` | where a rotation stands, and so which generations count; absent before the first one |
//! | `ca-N.pem`, `ca-N.key` | the root of generation N; before the first rotation `ca.pem` and `ca.key` |
//! | `agents-ca-N.pem`, `agents-ca-N.key` | its agents CA; before the first rotation without the number |
//! | `bridges.pem` | roots signed by other roots, newest first |

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use tradepost_domain::trust::{Number, Phase};

use super::Error;

/// The certificates of the roots: what the CLI and agents trust.
pub const ROOT: &str = "ca.pem";
/// The agents CA's certificate.
pub const AGENTS_CA: &str = "agents-ca.pem";
/// Where a rotation stands.
const TRUST: &str = "trust.json";
const BRIDGES: &str = "bridges.pem";
const LOCK: &str = "trust.lock";
/// Bridges kept: those of the newest rotations.
const BRIDGES_MAX: usize = 8;

/// A certificate and its key, PEM.
#[derive(Clone)]
pub(super) struct Pair {
    pub(super) certificate: String,
    pub(super) key: String,
}

/// One generation, PEM.
#[derive(Clone)]
pub(super) struct GenerationFiles {
    pub(super) root: Pair,
    pub(super) agents: Pair,
}

/// All of it.
pub(super) struct Files {
    pub(super) phase: Phase,
    pub(super) generations: Vec<(Number, GenerationFiles)>,
    /// Newest first.
    pub(super) bridges: Vec<String>,
    /// Every root that there ever was.
    pub(super) roots: Vec<String>,
}

/// Held by whoever changes the folder.
#[derive(Debug)]
pub(super) struct Lock {
    _file: fs::File,
}

/// The files of `folder`; none when there are none.
pub(super) fn load(folder: &Path) -> Result<Option<Files>, Error> {
    let Some(text) = read_if_there(&folder.join(TRUST))? else {
        if !folder.join(ROOT).exists() {
            return Ok(None);
        }
        let first = generation(folder, "")?;
        return Ok(Some(Files {
            phase: Phase::Stable { present: 1 },
            roots: vec![first.root.certificate.clone()],
            generations: vec![(1, first)],
            bridges: Vec::new(),
        }));
    };
    let phase: Phase =
        serde_json::from_str(&text).map_err(|error| Error::State { problem: error.to_string() })?;
    let kept = phase.kept();
    let generations: Result<_, Error> =
        kept.into_iter().map(|number| Ok((number, generation(folder, &format!("-{number}"))?))).collect();
    let bridges = read_if_there(&folder.join(BRIDGES))?.unwrap_or_default();
    let roots = numbers(folder).into_iter().map(|number| read(&folder.join(format!("ca-{number}.pem"))));
    let roots = roots.collect::<Result<_, _>>()?;
    Ok(Some(Files { phase, generations: generations?, bridges: split(&bridges), roots }))
}

/// What `load` depends on, cheaply: changes with every step.
pub(super) fn stamp(folder: &Path) -> Result<String, Error> {
    Ok(match read_if_there(&folder.join(TRUST))? {
        Some(text) => text,
        None => read(&folder.join(ROOT))?,
    })
}

/// Writes the first generation; `false` when others were written there meanwhile.
pub(super) fn store(folder: &Path, files: &GenerationFiles) -> Result<bool, Error> {
    let making = beside(folder);
    let made = write_first(&making, files);
    let renamed = made.and_then(|()| match fs::rename(&making, folder) {
        Ok(()) => Ok(true),
        Err(_) if folder.join(ROOT).exists() => Ok(false),
        // A command made keys of other kinds there before the first start.
        Err(_) if folder.is_dir() => move_into(folder, &making),
        Err(source) => Err(Error::File { what: "create", path: folder.to_owned(), source }),
    });
    // Only what this call wrote itself, if it is still there; nothing depends on its removal.
    drop(fs::remove_dir_all(&making));
    renamed
}

/// Moves the first generation into a folder that holds other files. The root comes last: without it the others do not count,
/// and are written over.
fn move_into(folder: &Path, making: &Path) -> Result<bool, Error> {
    let _held = lock(folder)?;
    if folder.join(ROOT).exists() {
        return Ok(false);
    }
    for name in ["ca.key", "agents-ca.key", AGENTS_CA, ROOT] {
        let path = folder.join(name);
        fs::rename(making.join(name), &path).map_err(|source| Error::File { what: "write", path, source })?;
    }
    #[cfg(unix)]
    {
        let synced = fs::File::open(folder).and_then(|folder| folder.sync_all());
        synced.map_err(|source| Error::File { what: "write", path: folder.to_owned(), source })?;
    }
    Ok(true)
}

/// Waits for nobody: two people do not rotate at once.
pub(super) fn lock(folder: &Path) -> Result<Lock, Error> {
    let path = folder.join(LOCK);
    let failed = |source| Error::File { what: "lock", path: path.clone(), source };
    let file = fs::OpenOptions::new().create(true).truncate(false).write(true).open(&path).map_err(failed)?;
    match file.try_lock() {
        Ok(()) => Ok(Lock { _file: file }),
        Err(fs::TryLockError::WouldBlock) => Err(Error::Locked),
        Err(fs::TryLockError::Error(source)) => Err(failed(source)),
    }
}

/// Adds a generation and the bridges to it; nothing counts before [`change`].
pub(super) fn add(
    folder: &Path,
    number: Number,
    files: &GenerationFiles,
    bridges: &[String],
) -> Result<(), Error> {
    write_generation(folder, number, files)?;
    let kept: String = bridges.iter().take(BRIDGES_MAX).map(String::as_str).collect();
    replace(&folder.join(BRIDGES), &kept, false)
}

/// Makes `phase` count, then rewrites `ca.pem` and removes the keys that no phase needs any more.
pub(super) fn change(folder: &Path, phase: Phase, roots: &str) -> Result<(), Error> {
    let text =
        serde_json::to_string_pretty(&phase).map_err(|error| Error::State { problem: error.to_string() })?;
    replace(&folder.join(TRUST), &text, false)?;
    replace(&folder.join(ROOT), roots, false)?;
    let kept: Vec<String> = phase.kept().into_iter().map(|number| format!("-{number}.key")).collect();
    let entries = fs::read_dir(folder).map_err(|source| Error::File {
        what: "list",
        path: folder.to_owned(),
        source,
    })?;
    for entry in entries.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let is_ours = name.starts_with("ca") || name.starts_with("agents-ca");
        let is_key = Path::new(&name).extension().is_some_and(|it| it == "key");
        if is_ours && is_key && !kept.iter().any(|suffix| name.ends_with(suffix)) {
            let path = entry.path();
            fs::remove_file(&path).map_err(|source| Error::File { what: "remove", path, source })?;
        }
    }
    Ok(())
}

/// The newest number of a generation; those that were given up count as well.
pub(super) fn newest_number(folder: &Path) -> Number {
    numbers(folder).into_iter().max().unwrap_or(1)
}

/// The numbers that a root's certificate was ever written under.
fn numbers(folder: &Path) -> Vec<Number> {
    let names = fs::read_dir(folder).into_iter().flatten().flatten();
    let numbers = names.filter_map(|entry| {
        let name = entry.file_name().to_string_lossy().into_owned();
        name.strip_prefix("ca-")?.strip_suffix(".pem")?.parse().ok()
    });
    numbers.collect()
}

/// Writes a generation under its number.
pub(super) fn write_generation(folder: &Path, number: Number, files: &GenerationFiles) -> Result<(), Error> {
    for (name, content, secret) in [
        (format!("ca-{number}.key"), &files.root.key, true),
        (format!("agents-ca-{number}.key"), &files.agents.key, true),
        (format!("agents-ca-{number}.pem"), &files.agents.certificate, false),
        (format!("ca-{number}.pem"), &files.root.certificate, false),
    ] {
        replace(&folder.join(name), content, secret)?;
    }
    Ok(())
}

fn generation(folder: &Path, suffix: &str) -> Result<GenerationFiles, Error> {
    let pair = |name: &str| {
        let certificate = read(&folder.join(format!("{name}{suffix}.pem")))?;
        let key = read(&folder.join(format!("{name}{suffix}.key")))?;
        Ok::<_, Error>(Pair { certificate, key })
    };
    Ok(GenerationFiles { root: pair("ca")?, agents: pair("agents-ca")? })
}

/// The certificates of a text, each in its own.
pub(super) fn split(text: &str) -> Vec<String> {
    const END: &str = "-----END CERTIFICATE-----";
    let parts = text.split_inclusive(END).filter(|part| part.contains(END));
    parts.map(|part| format!("{}\n", part.trim_start())).collect()
}

fn read(path: &Path) -> Result<String, Error> {
    fs::read_to_string(path).map_err(|source| Error::File { what: "read", path: path.to_owned(), source })
}

fn read_if_there(path: &Path) -> Result<Option<String>, Error> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(Error::File { what: "read", path: path.to_owned(), source }),
    }
}

fn beside(folder: &Path) -> PathBuf {
    let mut name = folder.file_name().unwrap_or_default().to_owned();
    name.push(format!(".making-{}", std::process::id()));
    folder.with_file_name(name)
}

fn write_first(folder: &Path, files: &GenerationFiles) -> Result<(), Error> {
    create_private(folder).map_err(|source| Error::File {
        what: "create",
        path: folder.to_owned(),
        source,
    })?;
    for (name, content, secret) in [
        ("ca.key", &files.root.key, true),
        ("agents-ca.key", &files.agents.key, true),
        (AGENTS_CA, &files.agents.certificate, false),
        (ROOT, &files.root.certificate, false),
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

/// Replaces a file: after any crash it holds the old or the new content.
fn replace(path: &Path, content: &str, secret: bool) -> Result<(), Error> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    let making = path.with_file_name(name);
    // Left by a crash, if it is there at all.
    drop(fs::remove_file(&making));
    write(&making, content, secret)
        .and_then(|()| fs::rename(&making, path))
        .map_err(|source| Error::File { what: "write", path: path.to_owned(), source })?;
    #[cfg(unix)]
    if let Some(folder) = path.parent() {
        let synced = fs::File::open(folder).and_then(|folder| folder.sync_all());
        synced.map_err(|source| Error::File { what: "write", path: path.to_owned(), source })?;
    }
    Ok(())
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
        let pair = |text: &str| Pair { certificate: text.to_owned(), key: text.to_owned() };
        let files = GenerationFiles { root: pair("a"), agents: pair("b") };
        assert!(store(&path, &files).expect("written"));
        write_generation(&path, 2, &files).expect("written");
        let mode = fs::metadata(&path).expect("exists").permissions().mode();
        assert_eq!(mode & 0o777, 0o700, "the folder");
        for key in ["ca.key", "agents-ca.key", "ca-2.key", "agents-ca-2.key"] {
            let mode = fs::metadata(path.join(key)).expect("exists").permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{key}");
        }
        assert!(!store(&path, &files).expect("the first files stay"));
        assert_eq!(
            fs::read_dir(folder.path()).expect("readable").count(),
            1,
            "nothing is left beside the folder"
        );
        // Another kind of key was there first, and files of a start that was ended before its root.
        let path = folder.path().join("later");
        create_private(&path).expect("made");
        fs::write(path.join("audit.key"), "c").expect("written");
        fs::write(path.join("ca.key"), "old").expect("written");
        assert!(store(&path, &files).expect("written"));
        let content = |name: &str| fs::read_to_string(path.join(name)).expect("there");
        assert_eq!(
            (content("audit.key"), content("ca.key"), content(ROOT)),
            ("c".into(), "a".into(), "a".into())
        );
        assert!(!store(&path, &files).expect("the first files stay"));
        assert_eq!(fs::read_dir(folder.path()).expect("readable").count(), 2, "nothing is left beside");
        let two = "-----BEGIN CERTIFICATE-----\nA\n-----END CERTIFICATE-----\n".repeat(2);
        assert_eq!((split(&two).len(), split(&two).concat()), (2, two));
    }
}
