//! What the listeners show: certificates of one's own, their replacement, headers, readiness.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tradepost_runtime::clock::Clock;
use tradepost_runtime::tls::{self, Connector};
use tradepost_testkit::{TestDatabase, wait};

use super::{DAY, Pc, enrolled, system_clock};
use crate::system::{DEADLINE, System};

/// A public authority, as far as this test goes.
struct Public(CertifiedIssuer<'static, KeyPair>);

impl Public {
    fn new() -> Result<Self> {
        let mut params = CertificateParams::new(Vec::new())?;
        params.distinguished_name.push(DnType::CommonName, "public");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Ok(Self(CertifiedIssuer::self_signed(params, KeyPair::generate()?)?))
    }

    /// Writes a certificate for localhost that ends at `until`.
    fn issue(&self, folder: &Path, until: time::OffsetDateTime) -> Result<()> {
        let mut params = CertificateParams::new(vec!["localhost".into(), "127.0.0.1".into()])?;
        params.not_before = until - time::Duration::days(60);
        params.not_after = until;
        let key = KeyPair::generate()?;
        std::fs::write(folder.join("cert.pem"), params.signed_by(&key, &self.0)?.pem())?;
        std::fs::write(folder.join("key.pem"), key.serialize_pem())?;
        Ok(())
    }

    /// The leaf that the api listener shows, and the answer to `GET path`.
    async fn get(&self, system: &System, path: &str) -> Result<(Vec<u8>, String)> {
        let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
        self.ask(system, &request).await
    }

    /// The same for a request as it is written.
    async fn ask(&self, system: &System, request: &str) -> Result<(Vec<u8>, String)> {
        let roots = tls::pem::roots([self.0.der()])?;
        let mut config = tls::client_config(roots, None)?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        let uri = format!("https://{}", system.api).parse()?;
        let mut stream = Connector::new(config).connect(&uri).await?;
        let leaf =
            stream.get_ref().1.peer_certificates().and_then(<[_]>::first).context("a certificate")?.to_vec();
        stream.write_all(request.as_bytes()).await?;
        let mut answer = Vec::new();
        // The other side may end without saying so.
        drop(stream.read_to_end(&mut answer).await);
        Ok((leaf, String::from_utf8_lossy(&answer).into_owned()))
    }
}

fn at(time: tradepost_domain::time::Timestamp) -> Result<time::OffsetDateTime> {
    Ok(time::OffsetDateTime::from_unix_timestamp(time.as_micros() / 1_000_000)?)
}

#[tokio::test]
async fn a_certificate_of_ones_own_is_replaced_without_touching_a_stream_and_turns_readiness_red_at_its_end()
-> Result<()> {
    let folder = tempfile::tempdir()?;
    let public = Public::new()?;
    let now = tradepost_runtime::clock::SystemClock.now();
    public.issue(folder.path(), at(now + DAY * 30)?)?;
    let (certificate, key) = (folder.path().join("cert.pem"), folder.path().join("key.pem"));
    let adjust = move |config: &mut tradepost_controller::config::Config| {
        config.api.certificate_file = Some(certificate.clone());
        config.api.key_file = Some(key.clone());
    };
    let system = System::start_with(TestDatabase::sqlite()?, Some(Box::new(adjust))).await?;
    let (first, answer) = public.get(&system, "/readyz").await?;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");

    // Agents enrol and come back all the same: under their own name they are shown the controller's own authority.
    let own = tls::pem::roots(&tls::pem::certificates(system.root_pem.as_bytes(), "root")?)?;
    let named = Connector::new(tls::client_config(own, None)?)
        .with_server_name(tradepost_domain::standing::ENROLMENT_NAME.try_into()?);
    named.connect(&format!("https://{}", system.api).parse()?).await?;
    let home = tempfile::tempdir()?;
    let user = system.user_through(&public.0.pem()).await?;
    enrolled(&user, home.path()).await?;
    let pc = Pc::start(home.path(), system_clock(&system))?;
    let mut stream = pc.attaches().await?;
    pc.keeper.come_back().await?;

    public.issue(folder.path(), at(now + DAY * 60)?)?;
    let second = wait::until("the new certificate", DEADLINE, || async {
        let (leaf, _) = public.get(&system, "/healthz").await.map_err(|error| error.to_string())?;
        if leaf == first { Err(String::from("the old one")) } else { Ok(leaf) }
    })
    .await?;
    // A broken file changes nothing but readiness.
    std::fs::write(folder.path().join("cert.pem"), "nonsense")?;
    wait::until("readiness to turn red", DEADLINE, || async {
        let (leaf, answer) = public.get(&system, "/readyz").await.map_err(|error| error.to_string())?;
        if leaf == second && answer.starts_with("HTTP/1.1 503") { Ok(()) } else { Err(answer) }
    })
    .await?;
    public.issue(folder.path(), at(now + DAY * 60)?)?;
    wait::until("readiness to turn green", DEADLINE, || async {
        let (_, answer) = public.get(&system, "/readyz").await.map_err(|error| error.to_string())?;
        if answer.starts_with("HTTP/1.1 200") { Ok(()) } else { Err(answer) }
    })
    .await?;
    system.clock.advance(DAY * 59 + Duration::from_secs(23 * 3_600));
    let (_, answer) = public.get(&system, "/readyz").await?;
    assert!(answer.starts_with("HTTP/1.1 503") && answer.contains("needs a person"), "{answer}");
    let quiet =
        tokio::time::timeout(Duration::from_millis(200), futures::StreamExt::next(&mut stream.inbound)).await;
    assert!(quiet.is_err(), "the stream was touched: {quiet:?}");
    Ok(())
}

#[tokio::test]
async fn browsers_are_told_what_they_may_do() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let public = Public::new()?;
    public.issue(folder.path(), at(tradepost_runtime::clock::SystemClock.now() + DAY * 30)?)?;
    let (certificate, key) = (folder.path().join("cert.pem"), folder.path().join("key.pem"));
    let adjust = move |config: &mut tradepost_controller::config::Config| {
        config.api.certificate_file = Some(certificate.clone());
        config.api.key_file = Some(key.clone());
    };
    let system = System::start_with(TestDatabase::sqlite()?, Some(Box::new(adjust))).await?;
    let get = |path: &str| format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
    // A call of gRPC-web that is refused, and one that is no message at all.
    let web = |body: &str| {
        format!(
            "POST /tradepost.v1.AuthService/WhoAmI HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\
             content-type: application/grpc-web+proto\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        )
    };
    for (path, request) in [
        ("health", get("/healthz")),
        ("nothing there", get("/nothing")),
        ("a method", get("/tradepost.v1.AuthService/WhoAmI")),
        ("gRPC-web without a token", web("\0\0\0\0\0")),
        ("gRPC-web with garbage", web("nonsense")),
    ] {
        let (_, answer) = public.ask(&system, &request).await?;
        let answer = answer.to_lowercase();
        assert!(answer.starts_with("http/1.1 "), "{path}: {answer}");
        for header in [
            "strict-transport-security: max-age=31536000",
            "content-security-policy: default-src 'none'",
            "frame-ancestors 'none'",
            "x-content-type-options: nosniff",
            "referrer-policy: no-referrer",
        ] {
            assert!(answer.contains(header), "{path}: {header} is missing in {answer}");
        }
        assert!(!answer.contains("unsafe-inline"), "{answer}");
    }
    Ok(())
}

/// The answer to `GET path` without TLS; empty when the connection was closed instead.
async fn plain_get(system: &System, path: &str) -> Result<String> {
    let mut stream = tokio::net::TcpStream::connect(&system.api).await?;
    stream
        .write_all(format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").as_bytes())
        .await?;
    let mut answer = Vec::new();
    drop(tokio::time::timeout(DEADLINE, stream.read_to_end(&mut answer)).await?);
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

#[tokio::test]
async fn plaintext_is_served_where_it_is_asked_for_and_on_loopback_alone() -> Result<()> {
    use tradepost_proto::v1::auth_service_client::AuthServiceClient;
    let system = System::start().await?;
    let answer = plain_get(&system, "/healthz").await?;
    assert!(!answer.contains("HTTP/1.1 200"), "without the flag: {answer}");

    let plain = |config: &mut tradepost_controller::config::Config| config.api.plaintext = true;
    let system = System::start_with(TestDatabase::sqlite()?, Some(Box::new(plain))).await?;
    let answer = plain_get(&system, "/healthz").await?;
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("strict-transport-security"), "{answer}");
    // As a proxy speaks to it: gRPC in HTTP/2 without TLS.
    let user = system.user().await?;
    let channel =
        tonic::transport::Endpoint::from_shared(format!("http://{}", system.api))?.connect().await?;
    let request = user.request(tradepost_proto::v1::WhoAmIRequest {});
    assert_eq!(AuthServiceClient::new(channel).who_am_i(request).await?.into_inner().email, "a@example.com");
    // TLS is there all the same: agents enrol through a proxy that passes their connections on unopened.
    let home = tempfile::tempdir()?;
    enrolled(&user, home.path()).await?;
    drop(Pc::start(home.path(), system_clock(&system))?.attaches().await?);
    // Agents themselves have no other way.
    let mut agents = tokio::net::TcpStream::connect(&system.agents).await?;
    agents.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await?;
    let mut answer = Vec::new();
    drop(tokio::time::timeout(DEADLINE, agents.read_to_end(&mut answer)).await?);
    assert!(answer.len() < 16, "an alert at most: {answer:?}");

    let open = |config: &mut tradepost_controller::config::Config| {
        config.api.plaintext = true;
        config.api.listen = ([0, 0, 0, 0], 0).into();
    };
    let error =
        System::start_with(TestDatabase::sqlite()?, Some(Box::new(open))).await.err().context("started")?;
    assert!(error.to_string().contains("on this machine alone"), "{error}");
    Ok(())
}

#[tokio::test]
async fn an_ended_or_half_configured_certificate_is_told_at_the_start() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let public = Public::new()?;
    public.issue(folder.path(), at(tradepost_runtime::clock::SystemClock.now() - DAY)?)?;
    let (certificate, key) = (folder.path().join("cert.pem"), folder.path().join("key.pem"));
    let half = certificate.clone();
    let ended = move |config: &mut tradepost_controller::config::Config| {
        config.api.certificate_file = Some(certificate.clone());
        config.api.key_file = Some(key.clone());
    };
    let error =
        System::start_with(TestDatabase::sqlite()?, Some(Box::new(ended))).await.err().context("started")?;
    assert!(error.to_string().contains("the certificate has ended"), "{error}");
    let only = move |config: &mut tradepost_controller::config::Config| {
        config.api.certificate_file = Some(half.clone());
    };
    let error =
        System::start_with(TestDatabase::sqlite()?, Some(Box::new(only))).await.err().context("started")?;
    assert!(error.to_string().contains("go together"), "{error}");
    Ok(())
}

/// Runs one of the documented scripts.
fn script(name: &str, args: &[&std::ffi::OsStr]) -> Result<(bool, String)> {
    let output = std::process::Command::new(tradepost_testkit::workspace_root().join("certs").join(name))
        .args(args)
        .output()?;
    let text =
        [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    Ok((output.status.success(), text))
}

#[tokio::test]
async fn an_authority_of_ones_own_made_by_the_scripts_serves_agents_and_rotates() -> Result<()> {
    use tradepost_controller::identity::rotation::{self, Scope, Step};
    let folder = tempfile::tempdir()?;
    let identity = folder.path().join("identity");
    let (made, text) = script("make-ca.sh", &[identity.as_os_str(), "Shop Ltd".as_ref()])?;
    assert!(made, "{text}");
    let (again, text) = script("make-ca.sh", &[identity.as_os_str()])?;
    assert!(!again && text.contains("has an authority already"), "{text}");

    let served = folder.path().join("served");
    let (ca, ca_key) = (identity.join("ca.pem"), identity.join("ca.key"));
    let names =
        [ca.as_os_str(), ca_key.as_os_str(), served.as_os_str(), "localhost".as_ref(), "127.0.0.1".as_ref()];
    let (made, text) = script("make-server.sh", &names)?;
    assert!(made, "{text}");
    let (certificate, key) = (served.join("cert.pem"), served.join("key.pem"));
    let (good, text) = script("check.sh", &[certificate.as_os_str(), key.as_os_str(), "127.0.0.1".as_ref()])?;
    assert!(good && text.contains("good until"), "{text}");
    for (pair, problem) in [
        ([certificate.as_os_str(), ca_key.as_os_str(), "localhost".as_ref()], "is not the key of"),
        ([certificate.as_os_str(), key.as_os_str(), "shop.example".as_ref()], "is not for shop.example"),
        ([key.as_os_str(), key.as_os_str(), "localhost".as_ref()], "holds no certificate"),
    ] {
        let (good, text) = script("check.sh", &pair)?;
        assert!(!good && text.contains(problem), "{problem}: {text}");
    }

    let own = identity.clone();
    let adjust = move |config: &mut tradepost_controller::config::Config| {
        config.identity_dir = Some(own.clone());
        config.api.certificate_file = Some(certificate.clone());
        config.api.key_file = Some(key.clone());
    };
    let system = System::start_with(TestDatabase::sqlite()?, Some(Box::new(adjust))).await?;
    assert_eq!(system.root_pem, std::fs::read_to_string(&ca)?);
    let user = system.user().await?;
    let home = tempfile::tempdir()?;
    enrolled(&user, home.path()).await?;
    drop(Pc::start(home.path(), system_clock(&system))?.attaches().await?);
    // A root whose name OpenSSL wrote is bridged like one of ours.
    rotation::begin(&identity, Scope::Root, system.clock.now())?;
    for _ in 0..3 {
        rotation::step(&identity, Step::Advance)?;
    }
    system.clock.advance(DAY * 3);
    let sleeper = Pc::start(home.path(), system_clock(&system))?;
    sleeper.adopts(&system, &std::fs::read_to_string(&ca)?).await
}
