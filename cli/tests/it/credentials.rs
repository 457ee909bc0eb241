//! Passwords that are sealed to an agent: to the right one, and never shown.

use rcgen::{PublicKeyData, SigningKey};
use secrecy::ExposeSecret;
use tradepost_domain::id::{AccountId, AgentId, WorkspaceId};
use tradepost_proto::v1;
use tradepost_runtime::credential::{KeyPair, Place, fingerprint, statement};

use crate::process::{Home, Run};
use crate::server::{ACCOUNT, AGENT, Controller, WORKSPACE};

const PASSWORD: &str = "open sesame, please";

/// An agent with its two keys.
struct Agent {
    identity: rcgen::KeyPair,
    pair: KeyPair,
}

impl Agent {
    fn new(n: u8) -> Self {
        let identity = rcgen::KeyPair::generate().expect("made");
        Self { identity, pair: KeyPair::of(&[n; 32].into()) }
    }

    fn key(&self) -> v1::CredentialKey {
        let public = self.pair.public();
        v1::CredentialKey {
            agent_id: AGENT.to_owned(),
            public_key: public.to_vec(),
            identity_key: self.identity.subject_public_key_info(),
            signature: self.identity.sign(&statement(agent(), &public)).expect("signed"),
        }
    }

    fn fingerprint(&self) -> String {
        fingerprint(&self.identity.subject_public_key_info())
    }
}

fn agent() -> AgentId {
    AGENT.parse().expect("an id")
}

fn set(home: &Home, more: &[&str]) -> Run {
    let arguments = [&["accounts", "credentials", "set", ACCOUNT], more].concat();
    tokio::task::block_in_place(|| home.run_with(&arguments, &format!("eva@example.com\n{PASSWORD}\n")))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_is_sealed_to_the_agents_own_key_and_to_no_other() {
    let controller = Controller::start().await;
    let home = Home::new();
    tokio::task::block_in_place(|| controller.log_in(&home));
    let told = set(&home, &[]).fails(1);
    assert!(told.contains("bind it to an agent first"), "{told}");

    let (first, other) = (Agent::new(1), Agent::new(2));
    controller.script().credential_key = Some(first.key());
    let run = set(&home, &[]);
    assert_eq!(run.code, 0, "{run:?}");
    assert!(
        run.stderr.contains(&first.fingerprint()) && run.stderr.contains("tradepost-agent status"),
        "{run:?}"
    );
    assert!(run.stderr.contains("typed on https://sandbox.example alone"), "{run:?}");
    assert!(!run.stdout.contains(PASSWORD) && !run.stderr.contains(PASSWORD), "{run:?}");
    let (generation, sealed) = controller.script().sealed.pop().expect("stored");
    let place = Place {
        workspace: WORKSPACE.parse::<WorkspaceId>().expect("an id"),
        account: ACCOUNT.parse::<AccountId>().expect("an id"),
        agent: agent(),
        generation,
    };
    let opened = first.pair.open(place, &sealed).expect("opens");
    assert_eq!(opened.username.expose_secret(), "eva@example.com");
    assert_eq!(opened.password.expose_secret(), PASSWORD);
    assert_eq!(opened.origin, "https://sandbox.example");
    // Known by now: nothing more is said about the key.
    assert!(!set(&home, &[]).stderr.contains(&first.fingerprint()));
    controller.script().sealed.clear();

    // Another key in its place, with and without a signature of its own.
    controller.script().credential_key = Some(other.key());
    let told = set(&home, &[]).fails(4);
    assert!(told.contains(&other.fingerprint()) && told.contains(&first.fingerprint()), "{told}");
    let unsigned = v1::CredentialKey { public_key: other.pair.public().to_vec(), ..first.key() };
    controller.script().credential_key = Some(unsigned);
    assert!(set(&home, &[]).fails(4).contains("not signed by agent"));
    assert!(controller.script().sealed.is_empty(), "nothing was sealed to it");

    // Enrolled anew, and compared on its PC.
    controller.script().credential_key = Some(other.key());
    set(&home, &["--agent-key", &first.fingerprint()]).fails(4);
    assert_eq!(set(&home, &["--agent-key", &other.fingerprint()]).code, 0);
    assert_eq!(set(&home, &[]).code, 0, "and remembered");
}
