//! Credentials that a seller has sealed to this agent, and what became of each try with them.
//!
//! - The private key lies beside the identity, readable by its owner only. The controller and everybody between the seller
//!   and this PC has ciphertext.
//! - What is inside is used for the account, site and address that the seller sealed it for, and typed by the recipe that is
//!   built into this program: another one that a controller sends gets no password.
//! - A try is noted durably *before* the password is typed. One that the site refused is never repeated, and one that is
//!   not known to have worked waits for a person: a second wrong password could lock the account.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use tradepost_domain::credential::{Tried, Tries, Use, Withheld};
use tradepost_domain::id::{AccountId, AgentId, WorkspaceId};
use tradepost_recipe::catalogue::{self, Site};
use tradepost_recipe::schema::Job;
use tradepost_recipe::values::Credential;
use tradepost_runtime::credential::{KeyPair, Login, Place};
use tradepost_runtime::ids::Ids;
use zeroize::Zeroizing;

use super::Error;
use crate::platform::files;
use crate::session::frame::SiteAccount;

const KEY: &str = "credential.key";
const TRIES: &str = "credentials.tried.json";

/// A credential as the controller hands it out.
#[derive(Clone, PartialEq, Eq)]
pub struct Handed {
    /// The tenant it was sealed in.
    pub workspace: WorkspaceId,
    /// Grows with every one that is set.
    pub generation: i64,
    /// Ciphertext.
    pub sealed: Vec<u8>,
}

/// This agent's key for credentials, and its memory of tries.
pub struct SealedCredentials {
    agent: AgentId,
    pair: KeyPair,
    tries: PathBuf,
    writing: Mutex<()>,
}

/// Why a credential is not used; a sentence for the seller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotUsed(pub String);

#[derive(Serialize, Deserialize)]
struct Noted {
    generation: i64,
    last: String,
}

impl SealedCredentials {
    /// In the agent's data directory; the key is made when there is none.
    pub fn open(data: &Path, agent: AgentId, ids: &Ids) -> Result<Self, Error> {
        let folder = data.join("identity");
        let path = folder.join(KEY);
        let io = |source| Error::Io { path: path.clone(), source };
        let seed = match std::fs::read_to_string(&path).map(Zeroizing::new) {
            Ok(text) => decode(&text).ok_or_else(|| Error::Damaged { path: path.clone() })?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let mut seed = Zeroizing::new([0_u8; 32]);
                ids.fill(seed.as_mut_slice());
                let text = Zeroizing::new(STANDARD.encode(seed.as_slice()));
                files::private_dir(&folder).map_err(io)?;
                files::replace_private(&path, text.as_bytes()).map_err(io)?;
                seed
            }
            Err(error) => return Err(io(error)),
        };
        Ok(Self { agent, pair: KeyPair::of(&seed), tries: data.join(TRIES), writing: Mutex::default() })
    }

    /// What sellers seal to.
    pub fn public_key(&self) -> [u8; 32] {
        self.pair.public()
    }

    /// Opens a credential for `account` on `site`.
    pub fn open_for(
        &self,
        account: &SiteAccount,
        site: &Site,
        handed: &Handed,
    ) -> Result<Credential, NotUsed> {
        let again = |why: &str| {
            let name = &account.name;
            NotUsed(format!("{why}; set it again with `tradepost accounts credentials set {name:?}`"))
        };
        if !is_built_in(site) {
            return Err(NotUsed(format!(
                "the controller has another recipe for signing in to {} than this agent, which types the sealed password with its own \
                 alone; update the older of the two programs",
                site.pack.title
            )));
        }
        let place = Place {
            workspace: handed.workspace,
            account: account.id,
            agent: self.agent,
            generation: handed.generation,
        };
        let opened = self.pair.open(place, &handed.sealed);
        let Login { username, password, site: of_site, origin } =
            opened.map_err(|_| again("the sealed password does not open on this PC"))?;
        if of_site != account.site || origin != account.site_url.origin().ascii_serialization() {
            let why =
                format!("the password was sealed for {origin}, and the account is at {}", account.site_url);
            return Err(again(&why));
        }
        Ok(Credential { username, password })
    }

    /// Notes that a credential of this generation is about to be typed; or says why it must not be.
    pub fn begin(&self, account: &SiteAccount, generation: i64) -> Result<(), NotUsed> {
        let noted = self.change(account.id, |tries| tries.begin(generation));
        let withheld = match noted {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(withheld)) => withheld,
            Err(error) => return Err(NotUsed(error.to_string())),
        };
        let name = &account.name;
        let set = format!("`tradepost accounts credentials set {name:?}`");
        let by_hand = format!("sign in by yourself with `tradepost accounts login {name:?}`");
        Err(NotUsed(match withheld {
            Withheld::Old => {
                format!("the sealed password is older than one used before; set it again with {set}")
            }
            Withheld::Refused => format!(
                "the site refused the sealed password of this account, so it is not tried again; set the right one with {set}, or {by_hand}"
            ),
            Withheld::Unclear => format!(
                "it is not known whether the site took the sealed password the last time, and a second try could lock the account; \
                 {by_hand}, or set it again with {set}"
            ),
        }))
    }

    /// Notes what became of the try.
    pub fn end(&self, account: AccountId, outcome: Use) -> Result<(), Error> {
        self.change(account, |tries| Ok::<_, Withheld>(tries.end(outcome))).map(drop)
    }

    /// Notes that somebody is signed in, or that nothing was typed.
    pub fn no_harm_done(&self, account: AccountId) -> Result<(), Error> {
        if self.read()?.get(&account.to_string()).is_none_or(|noted| noted.last != "unclear") {
            return Ok(());
        }
        self.change(account, |tries| Ok::<_, Withheld>(tries.signed_in())).map(drop)
    }

    fn change<E>(
        &self,
        account: AccountId,
        decide: impl FnOnce(Tries) -> Result<Tries, E>,
    ) -> Result<Result<(), E>, Error> {
        let _alone = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut all = self.read()?;
        let key = account.to_string();
        let before = all.get(&key).map(Noted::tries).unwrap_or_default();
        match decide(before) {
            Ok(after) => {
                all.insert(key, Noted::of(after));
                self.write(&all).map(Ok)
            }
            Err(refusal) => Ok(Err(refusal)),
        }
    }

    fn read(&self) -> Result<BTreeMap<String, Noted>, Error> {
        match std::fs::read(&self.tries) {
            Ok(bytes) => {
                serde_json::from_slice(&bytes).map_err(|_| Error::Damaged { path: self.tries.clone() })
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(BTreeMap::new()),
            Err(source) => Err(Error::Io { path: self.tries.clone(), source }),
        }
    }

    fn write(&self, all: &BTreeMap<String, Noted>) -> Result<(), Error> {
        let bytes =
            serde_json::to_vec_pretty(all).map_err(|_| Error::Damaged { path: self.tries.clone() })?;
        files::replace_private(&self.tries, &bytes)
            .map_err(|source| Error::Io { path: self.tries.clone(), source })
    }
}

impl Noted {
    fn of(tries: Tries) -> Self {
        let last = match tries.last {
            Tried::Fine => "fine",
            Tried::Unclear => "unclear",
            Tried::Refused => "refused",
        };
        Self { generation: tries.generation, last: last.to_owned() }
    }

    /// What cannot be read counts as refused: too careful does no harm.
    fn tries(&self) -> Tries {
        let last = match self.last.as_str() {
            "fine" => Tried::Fine,
            "unclear" => Tried::Unclear,
            _ => Tried::Refused,
        };
        Tries { generation: self.generation, last }
    }
}

fn decode(text: &str) -> Option<Zeroizing<[u8; 32]>> {
    let bytes = Zeroizing::new(STANDARD.decode(text.trim()).ok()?);
    bytes.as_slice().try_into().ok().map(Zeroizing::new)
}

/// Whether pack and sign-in recipe are those of this program.
fn is_built_in(site: &Site) -> bool {
    let Ok(ours) = catalogue::site(&site.pack.site) else { return false };
    let version = |site: &Site| site.recipe(Job::Login).map(|recipe| recipe.version.clone());
    ours.pack.sha256 == site.pack.sha256 && version(&ours) == version(site)
}

impl std::fmt::Debug for SealedCredentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SealedCredentials").field("pair", &self.pair).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Handed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Handed").field("generation", &self.generation).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;
    use tradepost_runtime::credential::seal;
    use uuid::Uuid;

    use super::*;

    const WORKSPACE: WorkspaceId = WorkspaceId(Uuid::from_u128(1));
    const AGENT: AgentId = AgentId(Uuid::from_u128(2));

    fn account(n: u128) -> SiteAccount {
        SiteAccount {
            id: AccountId(Uuid::from_u128(n)),
            name: "my shop".into(),
            site: "sandbox".into(),
            site_url: "http://127.0.0.1:8800/".parse().expect("an address"),
            sign_in_name: None,
            currency: "EUR".parse().expect("known"),
        }
    }

    fn handed(credentials: &SealedCredentials, account: &SiteAccount, generation: i64) -> Handed {
        let login = Login {
            username: String::from("me").into(),
            password: String::from("open sesame").into(),
            site: "sandbox".into(),
            origin: "http://127.0.0.1:8800".into(),
        };
        let place = Place { workspace: WORKSPACE, account: account.id, agent: AGENT, generation };
        let sealed = seal(&credentials.public_key(), place, &login, &Ids::seeded(5)).expect("sealed");
        Handed { workspace: WORKSPACE, generation, sealed }
    }

    #[test]
    fn a_credential_is_for_its_account_address_and_recipe_alone() {
        let dir = tempfile::tempdir().expect("temporary folder");
        let credentials = SealedCredentials::open(dir.path(), AGENT, &Ids::seeded(1)).expect("made");
        let site = catalogue::site("sandbox").expect("built in");
        let (mine, other) = (account(7), account(8));
        let given = handed(&credentials, &mine, 3);
        let opened = credentials.open_for(&mine, &site, &given).expect("opens");
        assert_eq!(opened.password.expose_secret(), "open sesame");
        // After a restart, with the same key.
        let again = SealedCredentials::open(dir.path(), AGENT, &Ids::seeded(2)).expect("read");
        assert!(again.open_for(&mine, &site, &given).is_ok());
        let why = |account: &SiteAccount, site: &Site, given: &Handed| {
            again.open_for(account, site, given).expect_err("refused").0
        };
        assert!(why(&other, &site, &given).contains("does not open"));
        let forged = Handed { generation: 4, ..given.clone() };
        assert!(why(&mine, &site, &forged).contains("does not open"), "an old one under a new number");
        let elsewhere =
            SiteAccount { site_url: "https://evil.example/".parse().expect("an address"), ..mine.clone() };
        assert!(why(&elsewhere, &site, &given).contains("sealed for http://127.0.0.1:8800"));
        let mut changed: Vec<(String, String)> =
            site.texts().map(|(name, yaml)| (name.to_owned(), yaml.to_owned())).collect();
        for (name, yaml) in &mut changed {
            if name == "login" {
                *yaml = yaml.replace("input[type=password]", "input[name=title]");
            }
        }
        let (pack, recipes): (Vec<_>, Vec<_>) = changed.iter().partition(|(name, _)| name == "pack");
        let recipes: Vec<&str> = recipes.iter().map(|(_, yaml)| yaml.as_str()).collect();
        let changed = Site::parse(&pack[0].1, &recipes).expect("valid");
        assert!(why(&mine, &changed, &given).contains("another recipe"));
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            let mode = std::fs::metadata(dir.path().join("identity").join(KEY)).expect("there").permissions();
            assert_eq!(mode.mode() & 0o777, 0o600);
        }
    }

    #[test]
    fn a_refused_password_is_not_tried_again_even_after_a_restart() {
        let dir = tempfile::tempdir().expect("temporary folder");
        let open = || SealedCredentials::open(dir.path(), AGENT, &Ids::seeded(1)).expect("made");
        let mine = account(7);
        open().begin(&mine, 3).expect("the first");
        let why = open().begin(&mine, 3).expect_err("killed while it was typed").0;
        assert!(why.contains("not known whether"), "{why}");
        open().no_harm_done(mine.id).expect("noted");
        open().begin(&mine, 3).expect("somebody was signed in");
        open().end(mine.id, Use::Refused).expect("noted");
        let why = open().begin(&mine, 3).expect_err("refused").0;
        assert!(why.contains("credentials set \"my shop\""), "{why}");
        open().begin(&mine, 4).expect("set anew");
        open().end(mine.id, Use::Accepted).expect("noted");
        assert!(open().begin(&mine, 3).expect_err("rolled back").0.contains("older than one"));
        open().begin(&account(8), 1).expect("another account");
    }
}
