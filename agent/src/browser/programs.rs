//! Finding Chrome and chromedriver, and whether their versions fit.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tradepost_domain::failure::{Failure, FailureClass};

/// Name of this step in failures.
const STEP: &str = "Find Chrome";
/// How long a program may take to tell its version.
const VERSION_DEADLINE: Duration = Duration::from_secs(10);

/// Where to look, from the agent's configuration and environment.
#[derive(Debug, Clone, Default)]
pub struct SearchPlaces {
    /// Chrome's or Chromium's program, when configured.
    pub chrome: Option<PathBuf>,
    /// chromedriver's program, when configured.
    pub chromedriver: Option<PathBuf>,
    /// The value of `PATH`.
    pub path: Option<OsString>,
    /// The user's home directory; on Windows, also the parent of `AppData`.
    pub home: Option<PathBuf>,
}

/// Chrome and chromedriver, found, with versions that fit. Find them once per process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Programs {
    /// Chrome's program.
    pub chrome: PathBuf,
    /// chromedriver's program.
    pub chromedriver: PathBuf,
    /// Chrome's version, e.g. `156.0.8078.79`; none where it cannot be asked without opening a window.
    pub chrome_version: Option<String>,
    /// chromedriver's version.
    pub chromedriver_version: String,
}

const CHROME_NAMES: &[&str] =
    &["google-chrome", "google-chrome-stable", "chromium", "chromium-browser", "chrome"];
const DRIVER_NAMES: &[&str] = &["chromedriver"];
#[cfg(target_os = "linux")]
const CHROME_PLACES: &[&str] =
    &["/usr/bin/google-chrome", "/usr/bin/chromium", "/opt/google/chrome/chrome", "/snap/bin/chromium"];
#[cfg(target_os = "linux")]
const DRIVER_PLACES: &[&str] =
    &["/usr/bin/chromedriver", "/usr/lib/chromium/chromedriver", "/usr/lib/chromium-browser/chromedriver"];
#[cfg(target_os = "macos")]
const CHROME_PLACES: &[&str] = &[
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
    "/Applications/Chromium.app/Contents/MacOS/Chromium",
];
#[cfg(target_os = "macos")]
const DRIVER_PLACES: &[&str] = &["/opt/homebrew/bin/chromedriver", "/usr/local/bin/chromedriver"];
#[cfg(windows)]
const CHROME_PLACES: &[&str] = &[
    r"C:\Program Files\Google\Chrome\Application\chrome.exe",
    r"C:\Program Files (x86)\Google\Chrome\Application\chrome.exe",
];
#[cfg(windows)]
const DRIVER_PLACES: &[&str] = &[r"C:\Program Files\chromedriver\chromedriver.exe"];
#[cfg(not(any(target_os = "linux", target_os = "macos", windows)))]
const CHROME_PLACES: &[&str] = &[];
#[cfg(not(any(target_os = "linux", target_os = "macos", windows)))]
const DRIVER_PLACES: &[&str] = &[];

/// How to get what is missing, on this system.
const INSTALL: &str = if cfg!(target_os = "linux") {
    "on Debian or Ubuntu run `apt-get install chromium chromium-driver`, or set the program's path in the agent's \
     configuration"
} else {
    "install Chrome from https://www.google.com/chrome/ and its chromedriver from \
     https://googlechromelabs.github.io/chrome-for-testing/, or set the program's path in the agent's configuration"
};

impl Programs {
    /// Finds both programs and compares their major versions. One clear line with the mend when that fails.
    pub async fn find(places: &SearchPlaces) -> Result<Self, Failure> {
        let chrome = locate(
            "Chrome",
            "--chrome (chrome_path)",
            places.chrome.as_deref(),
            places,
            CHROME_NAMES,
            CHROME_PLACES,
        )?;
        let chromedriver = locate(
            "chromedriver",
            "--chromedriver (chromedriver_path)",
            places.chromedriver.as_deref(),
            places,
            DRIVER_NAMES,
            DRIVER_PLACES,
        )?;
        let (chrome_version, driver_version) =
            tokio::join!(chrome_version(&chrome), version_of(&chromedriver));
        let chromedriver_version = driver_version.map_err(|reason| {
            mismatch(format!("{} does not run: {reason}; {INSTALL}", chromedriver.display()))
        })?;
        let chrome_version = match chrome_version {
            Some(Ok(version)) => Some(version),
            Some(Err(reason)) => {
                return Err(mismatch(format!("{} does not run: {reason}; {INSTALL}", chrome.display())));
            }
            None => None,
        };
        if let Some(version) = &chrome_version
            && major(version) != major(&chromedriver_version)
        {
            return Err(mismatch(format!(
                "Chrome {version} ({}) and chromedriver {chromedriver_version} ({}) do not fit; install chromedriver {} \
                 beside it: {INSTALL}",
                chrome.display(),
                chromedriver.display(),
                major(version),
            )));
        }
        Ok(Self { chrome, chromedriver, chrome_version, chromedriver_version })
    }
}

fn mismatch(message: String) -> Failure {
    Failure::new(FailureClass::DriverMismatch, STEP, message)
}

fn locate(
    what: &str,
    key: &str,
    configured: Option<&Path>,
    places: &SearchPlaces,
    names: &[&str],
    usual: &[&str],
) -> Result<PathBuf, Failure> {
    if let Some(path) = configured {
        return if path.is_file() {
            Ok(path.to_owned())
        } else {
            Err(mismatch(format!(
                "{key} is {}, where there is no program; correct it or remove it",
                path.display()
            )))
        };
    }
    let suffix = std::env::consts::EXE_SUFFIX;
    let on_path = names.iter().flat_map(|name| {
        let file = format!("{name}{suffix}");
        places
            .path
            .iter()
            .flat_map(std::env::split_paths)
            .map(move |folder| folder.join(&file))
            .collect::<Vec<_>>()
    });
    let at_home = places.home.iter().flat_map(|home| {
        [
            home.join("AppData/Local/Google/Chrome/Application"),
            home.join("Applications"),
            home.join(".local/bin"),
        ]
        .into_iter()
        .flat_map(|folder| names.iter().map(move |name| folder.join(format!("{name}{suffix}"))))
    });
    on_path
        .chain(usual.iter().map(PathBuf::from))
        .chain(at_home)
        .find(|path| path.is_file())
        .ok_or_else(|| mismatch(format!("{what} was not found on this PC; {INSTALL}")))
}

/// Chrome's version, where asking does not open a window.
async fn chrome_version(chrome: &Path) -> Option<Result<String, String>> {
    if cfg!(windows) {
        // `chrome.exe --version` opens a browser there; the versions are folders beside it.
        let folders = std::fs::read_dir(chrome.parent()?).ok()?;
        let names = folders.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        return names
            .filter_map(|name| version_in(&name))
            .max_by_key(|version| major(version).parse::<u32>().ok())
            .map(Ok);
    }
    Some(version_of(chrome).await)
}

async fn version_of(program: &Path) -> Result<String, String> {
    let mut command = tokio::process::Command::new(program);
    command.arg("--version").stdin(std::process::Stdio::null()).kill_on_drop(true);
    let output = tokio::time::timeout(VERSION_DEADLINE, command.output())
        .await
        .map_err(|_| format!("no answer within {} s", VERSION_DEADLINE.as_secs()))?
        .map_err(|error| error.to_string())?;
    let text = String::from_utf8_lossy(&output.stdout);
    version_in(&text).ok_or_else(|| {
        let said = String::from_utf8_lossy(&output.stderr);
        format!("it told no version ({})", said.lines().next().unwrap_or("nothing").trim())
    })
}

/// The first dotted number with at least three parts.
fn version_in(text: &str) -> Option<String> {
    text.split(|c: char| !c.is_ascii_digit() && c != '.')
        .find(|word| word.split('.').filter(|part| !part.is_empty()).count() >= 3)
        .map(|word| word.trim_matches('.').to_owned())
}

fn major(version: &str) -> &str {
    version.split('.').next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_from_what_the_programs_print() {
        assert_eq!(version_in("Chromium 156.0.8078.79 built on Debian"), Some("156.0.8078.79".into()));
        assert_eq!(version_in("ChromeDriver 156.0.8078.79 (abc-refs/heads/7)"), Some("156.0.8078.79".into()));
        assert_eq!(version_in("no version"), None);
        assert_eq!(major("156.0.8078.79"), "156");
    }

    #[tokio::test]
    async fn an_absent_chrome_is_one_line_with_the_mend() {
        let places = SearchPlaces { chrome: Some("/nowhere/chrome".into()), ..SearchPlaces::default() };
        let failure = Programs::find(&places).await.expect_err("absent");
        assert_eq!(failure.class, FailureClass::DriverMismatch);
        assert!(failure.message.contains("--chrome (chrome_path) is /nowhere/chrome"), "{failure}");
        assert!(!failure.message.contains('\n'));
    }

    #[cfg(unix)]
    #[tokio::test]
    async fn different_major_versions_are_refused() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().expect("temporary folder");
        let program = |name: &str, says: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, format!("#!/bin/sh\necho {says}\n")).expect("written");
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).expect("executable");
            path
        };
        let places = SearchPlaces {
            chrome: Some(program("chrome", "Chromium 156.0.1.2")),
            chromedriver: Some(program("chromedriver", "ChromeDriver 140.0.1.2")),
            ..SearchPlaces::default()
        };
        let failure = Programs::find(&places).await.expect_err("different");
        assert!(failure.message.contains("install chromedriver 156"), "{failure}");
    }
}
