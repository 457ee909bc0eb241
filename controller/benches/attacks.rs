//! Attacks at full strength, measured: `make attacks`. Short versions are tests (`tests/it/guard.rs`).
//!
//! - Credential stuffing: 1,000 sign-ins a second from as many networks. Other calls' p99 may double at most.
//! - One code of an authenticator, replayed 10,000 times over three controllers: not once more than once.
//! - A refresh token that comes back ends its session, 200 sessions of 200.
//!
//! Client and controller share this machine, so the first is worse here than in life.

#![expect(clippy::print_stdout, reason = "a measurement is printed")]
#![expect(clippy::expect_used, reason = "a failed expectation is a failed attack script")]
#![expect(dead_code, reason = "the tests' people can do more than is needed here")]

#[path = "../tests/it/person.rs"]
mod person;
#[path = "../tests/it/raw.rs"]
mod raw;
#[path = "../tests/it/system.rs"]
mod system;

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Result, ensure};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval};
use tonic::transport::Channel;
use tradepost_controller::app::{App, Authority, Surroundings};
use tradepost_controller::background::Grace;
use tradepost_controller::config::Config;
use tradepost_proto::v1;
use tradepost_runtime::ids::Ids;
use tradepost_runtime::tls;
use tradepost_testkit::TestDatabase;
use v1::auth_service_client::AuthServiceClient;
use v1::listing_service_client::ListingServiceClient;

use crate::person::{code, from};
use crate::system::{System, User, reason};

const MEASURED: Duration = Duration::from_secs(15);
const CALLS_PER_SECOND: u64 = 50;
const SIGN_INS_PER_SECOND: u64 = 1_000;
const REPLAYS: usize = 10_000;

fn main() -> ExitCode {
    tls::install_provider();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    match runtime.block_on(attack()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("FAILED: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn attack() -> Result<()> {
    replay_codes().await?;
    replay_refresh_tokens().await?;
    let mut slow = Vec::new();
    for (engine, database) in
        [("SQLite", TestDatabase::sqlite()?), ("PostgreSQL", TestDatabase::empty_postgres().await?)]
    {
        let ratio = stuff_credentials(engine, database).await?;
        if ratio > 2.0 {
            slow.push(engine);
        }
    }
    ensure!(slow.is_empty(), "credential stuffing more than doubled other calls' p99 on {slow:?}");
    Ok(())
}

async fn replay_codes() -> Result<()> {
    let system = System::start_on(TestDatabase::empty_postgres().await?).await?;
    let ada = system.person("ada").await?;
    let (totp, _) = ada.set_up_factor(&system).await?;
    let mut controllers = Vec::new();
    for _ in 0..3 {
        let mut config =
            Config { data_dir: system.identity_folder().with_file_name("other"), ..Config::default() };
        config.identity_dir = Some(system.identity_folder());
        config.database.url = Some(system.database.url().to_owned().into());
        config.api.listen = ([127, 0, 0, 1], 0).into();
        config.agents.listen = ([127, 0, 0, 1], 0).into();
        let surroundings = Surroundings {
            clock: system.clock.clone(),
            ids: Ids::from_system(),
            grace: Grace::None,
            metrics: None,
            authority: Authority::Given,
        };
        controllers.push(App::build(config, surroundings).await?);
    }
    let bearer = controllers[0].people().look_up(&ada.tokens.access_token, None).await?;
    let (mut count, mut codes, mut more_than_once) = (0, 0, 0);
    while count < REPLAYS {
        // The limit of five tries would hide the race: each round has a fresh one.
        system.clock.advance(Duration::from_secs(15 * 60));
        codes += 1;
        let code = code(&totp, &system);
        let tries = (0..5).map(|n| controllers[n % 3].people().step_up(&bearer, &code, "", ada.peer()));
        let used = futures::future::join_all(tries).await.into_iter().flatten().count();
        ensure!(used > 0, "the right code was never taken");
        count += 5;
        more_than_once += used - 1;
    }
    println!(
        "codes      {count} tries of {codes} codes over 3 controllers: {more_than_once} used more than once"
    );
    ensure!(more_than_once == 0, "{more_than_once} codes were used more than once");
    Ok(())
}

async fn replay_refresh_tokens() -> Result<()> {
    let system = System::start_on(TestDatabase::empty_postgres().await?).await?;
    let mut ended = 0;
    let mut ada = system.person("ada").await?;
    for _ in 0..200 {
        let stolen = ada.tokens.refresh_token.clone();
        let first = ada.refresh(&stolen).await?;
        let second = ada.refresh(&first.refresh_token).await?;
        let thief = ada.refresh(&stolen).await.expect_err("it was used");
        ensure!(reason(&thief) == "SESSION_ENDED", "{thief:?}");
        let owner = ada.refresh(&second.refresh_token).await.expect_err("the session has ended");
        ensure!(reason(&owner) == "SESSION_ENDED", "{owner:?}");
        ended += 1;
        system.clock.advance(Duration::from_secs(60));
        ada = system.sign_in("ada@example.com", &ada.address).await?;
    }
    println!("refreshes  {ended} of 200 sessions ended when a used token came back");
    Ok(())
}

async fn stuff_credentials(engine: &str, database: TestDatabase) -> Result<f64> {
    let unlimited = |config: &mut Config| config.users.calls_per_minute = 0;
    let system = System::start_with(database, Some(Box::new(unlimited))).await?;
    system.person("ada").await?;
    let user = system.user().await?;
    user.listing("Drill").await?;
    measure(&user, Duration::from_secs(2)).await?;
    let calm = measure(&user, MEASURED).await?;
    let counts = Arc::new(Counts::default());
    let mut attackers = JoinSet::new();
    for n in 0..8 {
        let channel = system.channel(&system.api, None).await?;
        attackers.spawn(stuff(channel, n, Arc::clone(&counts)));
    }
    // The attack is under way before the measurement begins.
    measure(&user, Duration::from_secs(2)).await?;
    let attacked = measure(&user, MEASURED).await?;
    attackers.shutdown().await;
    let ratio = attacked.as_secs_f64() / calm.as_secs_f64();
    let sent = counts.sent.load(Ordering::Relaxed);
    println!(
        "stuffing   {engine}: {} sign-ins a second sent, {} answered: {} wrong, {} throttled, {} busy; other calls' p99 {:.1} ms, calm {:.1} ms: x {ratio:.2}",
        sent / (MEASURED.as_secs() + 2),
        counts.answered.load(Ordering::Relaxed),
        counts.wrong.load(Ordering::Relaxed),
        counts.throttled.load(Ordering::Relaxed),
        counts.busy.load(Ordering::Relaxed),
        attacked.as_secs_f64() * 1e3,
        calm.as_secs_f64() * 1e3,
    );
    Ok(ratio)
}

#[derive(Default)]
struct Counts {
    sent: AtomicU64,
    answered: AtomicU64,
    wrong: AtomicU64,
    throttled: AtomicU64,
    busy: AtomicU64,
}

/// A share of the sign-ins, each of another user from another network.
async fn stuff(channel: Channel, share: u64, counts: Arc<Counts>) {
    let mut tick = interval(Duration::from_micros(8 * 1_000_000 / SIGN_INS_PER_SECOND));
    tick.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let mut calls = JoinSet::new();
    for n in 0_u64.. {
        tick.tick().await;
        let number = n * 8 + share;
        let address = format!("198.{}.{}.{}", 18 + (number >> 16 & 1), number >> 8 & 255, number & 255);
        let message = v1::LoginRequest {
            email: format!("victim{number}@example.com"),
            password: "correct horse battery staple".into(),
            code: String::new(),
            client: "stuffing".into(),
        };
        counts.sent.fetch_add(1, Ordering::Relaxed);
        let (mut auth, counts) = (AuthServiceClient::new(channel.clone()), Arc::clone(&counts));
        calls.spawn(async move {
            let Err(refused) = auth.login(from(&address, message)).await else { return };
            counts.answered.fetch_add(1, Ordering::Relaxed);
            let count = match reason(&refused).as_str() {
                "SIGN_IN_FAILED" => &counts.wrong,
                "TOO_MANY_TRIES" => &counts.throttled,
                _ => &counts.busy,
            };
            count.fetch_add(1, Ordering::Relaxed);
        });
        while calls.try_join_next().is_some() {}
    }
}

/// The p99 of ordinary calls at a steady rate.
async fn measure(user: &User, period: Duration) -> Result<Duration> {
    let mut tick = interval(Duration::from_micros(1_000_000 / CALLS_PER_SECOND));
    let began = Instant::now();
    let mut calls = JoinSet::new();
    while began.elapsed() < period {
        tick.tick().await;
        let mut listings = ListingServiceClient::new(user.channel.clone());
        let request = user.request(v1::ListListingsRequest::default());
        calls.spawn(async move {
            let sent = Instant::now();
            listings.list_listings(request).await.map(|_| sent.elapsed())
        });
    }
    let mut took = Vec::new();
    while let Some(call) = calls.join_next().await {
        took.push(call??);
    }
    took.sort_unstable();
    Ok(took[took.len() * 99 / 100])
}
