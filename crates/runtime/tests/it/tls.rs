//! Handshakes over real sockets: who gets in, who does not, and that one bad client holds up nobody.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures::StreamExt;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair};
use rustls::CertificateError;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tradepost_runtime::tasks::{Drained, Tasks};
use tradepost_runtime::tls::{
    self, ClientAuth, ClientIdentity, Connector, ListenerOptions, Protocols, ReloadingServerConfig,
    TlsListener,
};

struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new(name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    fn root(&self) -> CertificateDer<'static> {
        self.0.der().clone()
    }

    fn roots(&self) -> rustls::RootCertStore {
        tls::pem::roots([&self.root()]).unwrap()
    }

    fn issue(
        &self,
        purpose: ExtendedKeyUsagePurpose,
    ) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
        let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        params.extended_key_usages = vec![purpose];
        let key = KeyPair::generate().unwrap();
        let leaf = params.signed_by(&key, &self.0).unwrap();
        (vec![leaf.der().clone(), self.root()], PrivatePkcs8KeyDer::from(key.serialize_der()).into())
    }

    fn server(&self, protocols: Protocols, auth: ClientAuth) -> rustls::ServerConfig {
        let (chain, key) = self.issue(ExtendedKeyUsagePurpose::ServerAuth);
        tls::server_config(chain, key, protocols, auth).unwrap()
    }

    fn client(&self) -> ClientIdentity {
        let (chain, key) = self.issue(ExtendedKeyUsagePurpose::ClientAuth);
        ClientIdentity { chain, key }
    }
}

/// A server that echoes one byte and says how many certificates the peer showed.
struct Echo {
    port: u16,
    config: ReloadingServerConfig,
    tasks: Tasks,
}

impl Echo {
    async fn start(config: rustls::ServerConfig, options: ListenerOptions) -> Self {
        let config = ReloadingServerConfig::new(config);
        let listener = TlsListener::bind("127.0.0.1:0", config.clone()).await.unwrap().with_options(options);
        let port = listener.local_addr().unwrap().port();
        let tasks = Tasks::new();
        let mut incoming = listener.accept(&tasks);
        let own = tasks.clone();
        tasks.spawn("echo", async move {
            while let Some(Ok(mut stream)) = incoming.next().await {
                own.spawn("echo-connection", async move {
                    let shown = stream.get_ref().1.peer_certificates().map_or(0, <[_]>::len);
                    let _ = stream.write_u8(u8::try_from(shown).unwrap()).await;
                    let _ = stream.read_u8().await;
                });
            }
        });
        Self { port, config, tasks }
    }

    /// Connects to "localhost" at 127.0.0.1 and reads the answer; TLS 1.3 reports a refused client on the first read.
    async fn ask(&self, client: rustls::ClientConfig) -> std::io::Result<u8> {
        let uri = format!("https://127.0.0.1:{}", self.port).parse().unwrap();
        let connector = Connector::new(client).with_server_name("localhost".try_into().unwrap());
        connector.connect(&uri).await?.read_u8().await
    }
}

#[tokio::test]
async fn only_clients_of_the_right_authority_that_are_not_revoked_get_in() {
    let (ours, foreign) = (Authority::new("ours"), Authority::new("foreign"));
    let revoked = Arc::new(AtomicBool::new(false));
    let hook = Arc::clone(&revoked);
    let auth =
        ClientAuth::Required {
            roots: Arc::new(ours.roots()),
            check: Arc::new(move |_| {
                if hook.load(Ordering::SeqCst) { Err(CertificateError::Revoked) } else { Ok(()) }
            }),
        };
    let server = Echo::start(ours.server(Protocols::Tls13, auth), ListenerOptions::default()).await;
    let ask = |identity| server.ask(tls::client_config(ours.roots(), identity).unwrap());

    assert_eq!(ask(Some(ours.client())).await.unwrap(), 2);
    let error = ask(None).await.unwrap_err().to_string();
    assert!(error.contains("CertificateRequired"), "{error}");
    let error = ask(Some(foreign.client())).await.unwrap_err().to_string();
    assert!(error.contains("UnknownCA") || error.contains("DecryptError"), "{error}");

    // The same client configuration would resume a session if there were any: the check must run again.
    let client = tls::client_config(ours.roots(), Some(ours.client())).unwrap();
    assert_eq!(server.ask(client.clone()).await.unwrap(), 2);
    revoked.store(true, Ordering::SeqCst);
    let error = server.ask(client).await.unwrap_err().to_string();
    assert!(error.contains("CertificateRevoked"), "{error}");
    assert_eq!(server.tasks.drain(Duration::from_secs(5)).await, Drained::Clean);
}

#[tokio::test]
async fn new_certificate_is_used_from_the_next_connection_on() {
    let (old, new) = (Authority::new("old"), Authority::new("new"));
    let config = old.server(Protocols::Tls12AndLater, ClientAuth::None);
    let server = Echo::start(config, ListenerOptions::default()).await;
    let trust_new = || tls::client_config(new.roots(), None).unwrap();
    assert!(server.ask(trust_new()).await.is_err());
    server.config.store(new.server(Protocols::Tls12AndLater, ClientAuth::None));
    assert_eq!(server.ask(trust_new()).await.unwrap(), 0);
}

#[tokio::test]
async fn pinned_client_accepts_its_root_only_and_still_checks_the_name() {
    let (ours, foreign) = (Authority::new("ours"), Authority::new("foreign"));
    let config = ours.server(Protocols::Tls12AndLater, ClientAuth::None);
    let server = Echo::start(config, ListenerOptions::default()).await;
    let pinned =
        |authority: &Authority| tls::pinned_client_config(tls::fingerprint(&authority.root())).unwrap();
    assert_eq!(server.ask(pinned(&ours)).await.unwrap(), 0);
    let error = server.ask(pinned(&foreign)).await.unwrap_err().to_string();
    assert!(error.contains("UnknownIssuer"), "{error}");

    let uri = format!("https://127.0.0.1:{}", server.port).parse().unwrap();
    let other = Connector::new(pinned(&ours)).with_server_name("example.org".try_into().unwrap());
    let error = other.connect(&uri).await.unwrap_err().to_string();
    assert!(error.contains("not valid for name"), "{error}");
}

#[tokio::test]
async fn silent_client_is_cut_off_and_holds_up_nobody() {
    let ours = Authority::new("ours");
    let options =
        ListenerOptions { handshake_timeout: Duration::from_millis(200), ..ListenerOptions::default() };
    let server = Echo::start(ours.server(Protocols::Tls13, ClientAuth::None), options).await;
    let mut silent = TcpStream::connect(("127.0.0.1", server.port)).await.unwrap();
    assert_eq!(server.ask(tls::client_config(ours.roots(), None).unwrap()).await.unwrap(), 0);
    let closed = tokio::time::timeout(Duration::from_secs(10), silent.read(&mut [0; 1])).await.unwrap();
    assert_eq!(closed.unwrap(), 0);
}

#[tokio::test]
async fn full_house_waits_in_the_queue() {
    let ours = Authority::new("ours");
    let options = ListenerOptions {
        handshake_timeout: Duration::from_millis(300),
        concurrent_handshakes: 1,
        ..ListenerOptions::default()
    };
    let server = Echo::start(ours.server(Protocols::Tls13, ClientAuth::None), options).await;
    let _silent = TcpStream::connect(("127.0.0.1", server.port)).await.unwrap();
    assert_eq!(server.ask(tls::client_config(ours.roots(), None).unwrap()).await.unwrap(), 0);
}
