//! The keys that secrets are sealed under: changed while everything runs, over several controllers.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use sqlx::{Connection, PgConnection, SqliteConnection};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tradepost_controller::app::{self, App, Authority, Surroundings};
use tradepost_controller::config::Config;
use tradepost_controller::seal::{Place, Ring, Sealer, Source};
use tradepost_controller::service::keys::{Error, Keys, Standing};
use tradepost_domain::id::{AccountId, UserId, WorkspaceId};
use tradepost_runtime::ids::Ids;
use tradepost_store::Sealed;
use tradepost_testkit::TestDatabase;
use uuid::Uuid;

use crate::person::{PASSWORD, code, fresh_address, login};
use crate::system::System;

/// As the judge asks for.
const MANY: u128 = 10_000;

/// A database with keys, and no controller.
struct Bench {
    database: TestDatabase,
    config: Config,
    _folder: tempfile::TempDir,
}

impl Bench {
    fn new(database: TestDatabase) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let mut config = Config { data_dir: folder.path().to_owned(), ..Config::default() };
        config.database.url = Some(database.url().to_owned().into());
        Ok(Self { database, config, _folder: folder })
    }

    /// What a command has; each has its own memory, like a process.
    async fn keys(&self) -> Result<Keys> {
        Ok(app::open_keys(&self.config, &surroundings()).await?.1)
    }

    /// Puts sealed seeds of that many users into the database; returns them.
    async fn fill(&self, sealer: &Sealer, count: u128) -> Result<Vec<(UserId, Sealed)>> {
        let mut rows = Vec::new();
        for n in 0..count {
            let user = UserId(Uuid::from_u128(0x1000 + n));
            rows.push((user, sealer.seal(Place::seed(user), &seed(user), surroundings().clock.now()).await?));
        }
        let email = |user: UserId| format!("{}@example.com", user.0.simple());
        if self.database.path().is_some() {
            let mut conn = SqliteConnection::connect(self.database.url()).await?;
            let mut tx = conn.begin().await?;
            for (user, sealed) in &rows {
                sqlx::query("INSERT INTO users (id, email, state, created_at) VALUES ($1, $2, 'active', 0)")
                    .bind(user.0)
                    .bind(email(*user))
                    .execute(&mut *tx)
                    .await?;
                sqlx::query("INSERT INTO second_factors (user_id, sealed_seed, key_version, created_at) VALUES ($1, $2, $3, 0)")
                    .bind(user.0)
                    .bind(&sealed.content)
                    .bind(sealed.key_version)
                    .execute(&mut *tx)
                    .await?;
            }
            tx.commit().await?;
        } else {
            let mut conn = PgConnection::connect(self.database.url()).await?;
            let ids: Vec<Uuid> = rows.iter().map(|(user, _)| user.0).collect();
            let emails: Vec<String> = rows.iter().map(|(user, _)| email(*user)).collect();
            let contents: Vec<Vec<u8>> = rows.iter().map(|(_, sealed)| sealed.content.clone()).collect();
            let versions: Vec<i64> = rows.iter().map(|(_, sealed)| sealed.key_version).collect();
            sqlx::query(
                "INSERT INTO users (id, email, state, created_at)
                 SELECT id, email, 'active', now() FROM UNNEST($1::uuid[], $2::text[]) u (id, email)",
            )
            .bind(&ids)
            .bind(&emails)
            .execute(&mut conn)
            .await?;
            sqlx::query(
                "INSERT INTO second_factors (user_id, sealed_seed, key_version, created_at)
                 SELECT id, seed, version, now() FROM UNNEST($1::uuid[], $2::bytea[], $3::bigint[]) u (id, seed, version)",
            )
            .bind(&ids)
            .bind(&contents)
            .bind(&versions)
            .execute(&mut conn)
            .await?;
        }
        Ok(rows)
    }

    async fn standing(&self, version: i64) -> Result<Standing> {
        let found = self.keys().await?.list().await?.into_iter().find(|standing| standing.version == version);
        found.context("no such version")
    }
}

fn surroundings() -> Surroundings {
    Surroundings { authority: Authority::Given, ..Surroundings::of_system() }
}

/// Every user's own.
fn seed(user: UserId) -> [u8; 20] {
    let mut seed = [7; 20];
    seed[..16].copy_from_slice(user.0.as_bytes());
    seed
}

async fn postgres() -> Result<TestDatabase> {
    TestDatabase::empty_postgres().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_secrets_are_sealed_anew_while_others_read_on_sqlite() -> Result<()> {
    rewrap(Bench::new(TestDatabase::sqlite()?)?).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_secrets_are_sealed_anew_while_others_read_on_postgres() -> Result<()> {
    rewrap(Bench::new(postgres().await?)?).await
}

#[expect(clippy::print_stdout, reason = "the time is a figure that is asked for")]
async fn rewrap(bench: Bench) -> Result<()> {
    let rotating = bench.keys().await?;
    rotating.sealer().check().await?;
    let users = Arc::new(bench.fill(rotating.sealer(), MANY).await?);
    // Another controller reads meanwhile, as fast as it can: any seed must open, whichever key it is sealed under.
    let reading = app::open_people(&bench.config, &surroundings(), app::Opener::Command).await?;
    let (ended, reads) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let readers: Vec<_> = (0..4_usize)
        .map(|n| {
            let (people, users) = (reading.clone(), Arc::clone(&users));
            let (ended, reads) = (Arc::clone(&ended), Arc::clone(&reads));
            async move {
                let mut at = n * 2_500;
                while !ended.load(Ordering::Relaxed) {
                    at = (at + 7) % users.len();
                    let user = users[at].0;
                    let read = people.read_seed(user).await?;
                    ensure!(read.as_slice() == seed(user), "another seed");
                    reads.fetch_add(1, Ordering::Relaxed);
                }
                Ok(())
            }
        })
        .collect();
    rotating.sealer().ring().add(&Ids::from_system())?;
    let begun = Instant::now();
    let rotate = async {
        let rotated = rotating.rotate(200, |_| {}, &CancellationToken::new()).await;
        ended.store(true, Ordering::Relaxed);
        rotated
    };
    let (rotated, read) = futures::join!(rotate, futures::future::try_join_all(readers));
    let (rotated, took) = (rotated?, begun.elapsed());
    read.context("a read failed")?;
    println!(
        "{} secrets sealed anew in {:.2} s, {} reads meanwhile, 0 failed",
        rotated.resealed,
        took.as_secs_f64(),
        reads.load(Ordering::Relaxed)
    );
    assert_eq!((rotated.resealed, rotated.unopened.len(), rotated.version), (10_000, 0, 2));
    assert!(reads.load(Ordering::Relaxed) > 100, "too few reads to tell");
    let verified = rotating.verify(|_| {}).await?;
    assert_eq!((verified.opened.get(&2).copied(), verified.unopened.len()), (Some(10_000), 0));
    rotating.retire(1).await?;
    assert_eq!(bench.keys().await?.verify(|_| {}).await?.unopened, []);
    Ok(())
}

#[tokio::test]
async fn a_rotation_that_is_ended_anywhere_goes_on_where_it_stood() -> Result<()> {
    let bench = Bench::new(TestDatabase::sqlite()?)?;
    let first = bench.keys().await?;
    first.sealer().check().await?;
    bench.fill(first.sealer(), 50).await?;
    first.sealer().ring().add(&Ids::from_system())?;
    // Ended after each batch, five times; each time by a process that knows nothing of the one before.
    let mut done = 0;
    for _ in 0..5 {
        let stop = CancellationToken::new();
        let rotated = bench
            .keys()
            .await?
            .rotate(
                7,
                |progress| {
                    if progress.done > 0 {
                        stop.cancel();
                    }
                },
                &stop,
            )
            .await?;
        assert!(rotated.cancelled);
        assert_eq!(rotated.resealed, 7);
        done += 7;
        assert_eq!(bench.standing(2).await?.values, done);
        let refused = bench.keys().await?.retire(1).await.expect_err("still needed").to_string();
        assert!(refused.contains("v1 is still needed") && refused.contains("keys rotate"), "{refused}");
        assert_eq!(bench.keys().await?.verify(|_| {}).await?.unopened, [], "both open");
    }
    let rest = bench.keys().await?.rotate(7, |_| {}, &CancellationToken::new()).await?;
    assert_eq!((rest.resealed, rest.cancelled), (15, false));
    bench.keys().await?.retire(1).await?;
    let keys = bench.keys().await?;
    let again = keys.rotate(7, |_| {}, &CancellationToken::new()).await?;
    assert_eq!((again.resealed, again.data_keys), (0, 0));
    assert!(matches!(keys.retire(2).await, Err(Error::InUse { version: 2, .. })));
    Ok(())
}

#[tokio::test]
async fn what_does_not_open_is_named_and_keeps_its_key() -> Result<()> {
    let bench = Bench::new(TestDatabase::sqlite()?)?;
    let keys = bench.keys().await?;
    keys.sealer().check().await?;
    let users = bench.fill(keys.sealer(), 6).await?;
    let mut conn = SqliteConnection::connect(bench.database.url()).await?;
    // One is moved to another's row, one is changed, one names a version that nobody has.
    for (row, content, version) in [
        (users[0].0, users[1].1.content.clone(), 1),
        (users[2].0, [&users[2].1.content[..30], &[1; 30]].concat(), 1),
        (users[3].0, users[3].1.content.clone(), 9),
    ] {
        sqlx::query("UPDATE second_factors SET sealed_seed = $2, key_version = $3 WHERE user_id = $1")
            .bind(row.0)
            .bind(content)
            .bind(version)
            .execute(&mut conn)
            .await?;
    }
    let verified = keys.verify(|_| {}).await?;
    let bad: BTreeSet<(Uuid, i64)> =
        verified.unopened.iter().map(|found| (found.id, found.version)).collect();
    let expected = [(users[0].0.0, 1), (users[2].0.0, 1), (users[3].0.0, 9)];
    assert_eq!((bad, verified.opened.get(&1).copied()), (expected.into(), Some(3)));
    keys.sealer().ring().add(&Ids::from_system())?;
    let rotated = keys.rotate(2, |_| {}, &CancellationToken::new()).await?;
    assert_eq!((rotated.resealed, rotated.unopened.len()), (3, 2), "{rotated:?}");
    assert!(matches!(keys.retire(1).await, Err(Error::InUse { .. })), "it may yet be needed");
    Ok(())
}

/// Seeds from before there were data keys, sealed by the key-encryption key itself.
#[tokio::test]
async fn seeds_of_an_earlier_version_open_and_move_on() -> Result<()> {
    use chacha20poly1305::aead::{Aead, KeyInit, Payload};
    let bench = Bench::new(TestDatabase::sqlite()?)?;
    let key: [u8; 32] = std::array::from_fn(|n| u8::try_from(n * 5).unwrap_or(0));
    let folder = bench.config.identity_folder();
    std::fs::create_dir_all(&folder)?;
    let line = format!("v1 {}\n", base64::Engine::encode(&base64::engine::general_purpose::STANDARD, key));
    std::fs::write(folder.join("secrets.key"), line)?;
    let keys = bench.keys().await?;
    let users = bench.fill(keys.sealer(), 2).await?;
    let user = users[0].0;
    let aad = format!("second_factors|{}|sealed_seed|1", user.0);
    let cipher = chacha20poly1305::XChaCha20Poly1305::new((&key).into());
    let sealed = cipher
        .encrypt(&[9; 24].into(), Payload { msg: &seed(user), aad: aad.as_bytes() })
        .map_err(|_| anyhow::anyhow!("not sealed"))?;
    let mut conn = SqliteConnection::connect(bench.database.url()).await?;
    sqlx::query("UPDATE second_factors SET sealed_seed = $2 WHERE user_id = $1")
        .bind(user.0)
        .bind([vec![9; 24], sealed].concat())
        .execute(&mut conn)
        .await?;
    assert_eq!(keys.verify(|_| {}).await?.unopened, []);
    keys.sealer().ring().add(&Ids::from_system())?;
    assert_eq!(keys.rotate(9, |_| {}, &CancellationToken::new()).await?.resealed, 2);
    keys.retire(1).await?;
    assert_eq!(keys.verify(|_| {}).await?.opened.get(&2), Some(&2));
    Ok(())
}

#[tokio::test]
async fn a_value_opens_in_its_place_and_scope_alone() -> Result<()> {
    let bench = Bench::new(TestDatabase::sqlite()?)?;
    let keys = bench.keys().await?;
    keys.sealer().check().await?;
    let (sealer, now) = (keys.sealer(), surroundings().clock.now());
    let (shop, other) = (WorkspaceId(Uuid::from_u128(1)), WorkspaceId(Uuid::from_u128(2)));
    let account = AccountId(Uuid::from_u128(3));
    let place = Place::credential(shop, account);
    let kept = sealer.seal(place, b"ciphertext", now).await?;
    assert!(!kept.content.windows(10).any(|part| part == b"ciphertext"));
    assert_eq!(bench.keys().await?.sealer().open(place, &kept).await?.as_slice(), b"ciphertext");
    sealer.seal(Place::credential(other, account), b"x", now).await?;
    sealer.seal(Place::seed(UserId(account.0)), b"x", now).await?;
    for elsewhere in [
        Place::credential(other, account),
        Place::credential(shop, AccountId(Uuid::from_u128(4))),
        Place::seed(UserId(account.0)),
    ] {
        assert!(sealer.open(elsewhere, &kept).await.is_err(), "{elsewhere:?}");
    }
    for n in 0..kept.content.len() {
        let mut changed = kept.clone();
        changed.content[n] ^= 1;
        assert!(sealer.open(place, &changed).await.is_err(), "byte {n}");
        changed.content.truncate(n);
        assert!(sealer.open(place, &changed).await.is_err(), "cut at {n}");
    }
    assert_eq!(bench.standing(1).await?.present, 3, "a data key of each scope");
    Ok(())
}

/// Two controllers, each with a file of its own: the key goes to both, then one rotates, and nobody signs in in vain.
#[tokio::test]
async fn rotating_on_one_host_first_fails_nowhere() -> Result<()> {
    let system = System::start().await?;
    let ada = system.person("ada").await?;
    let (totp, _) = ada.set_up_factor(&system).await?;
    let (_, keys) = app::open_keys(&system.config(), &surroundings()).await?;
    let ring = keys.sealer().ring();
    // The running controller has read the file before this line was in it.
    ring.add(&Ids::from_system())?;
    assert_eq!(keys.rotate(200, |_| {}, &CancellationToken::new()).await?.resealed, 1);
    keys.retire(1).await?;
    ring.remove(1, &Ids::from_system())?;
    system.clock.advance(Duration::from_secs(31));
    login(&ada.channel, &fresh_address(), "ada@example.com", PASSWORD, &code(&totp, &system)).await?;
    // And what it seals from now on is sealed under the newer key.
    let eve = system.person("eve").await?;
    eve.set_up_factor(&system).await?;
    let standings = keys.list().await?;
    assert_eq!(
        standings.iter().map(|standing| (standing.version, standing.values)).collect::<Vec<_>>(),
        [(2, 2)]
    );
    Ok(())
}

#[tokio::test]
async fn a_controller_without_the_right_keys_does_not_start() -> Result<()> {
    let bench = Bench::new(TestDatabase::sqlite()?)?;
    let keys = bench.keys().await?;
    keys.sealer().check().await?;
    bench.fill(keys.sealer(), 1).await?;
    let file = bench.config.identity_folder().join("secrets.key");
    let right = std::fs::read_to_string(&file)?;
    let start = async || -> String {
        let mut config = bench.config.clone();
        config.api.listen = ([127, 0, 0, 1], 0).into();
        config.agents.listen = ([127, 0, 0, 1], 0).into();
        match App::build(config, surroundings()).await {
            Ok(_) => String::from("started"),
            Err(error) => error.to_string(),
        }
    };
    std::fs::remove_file(&file)?;
    let said = start().await;
    assert!(said.contains("there are no keys in") && said.contains("backup"), "{said}");
    assert!(!file.exists(), "no new key that opens nothing");
    let (_, other) = Ring::load(Source::Setting(String::new().into()))?.fresh_line(&Ids::seeded(7));
    std::fs::write(&file, other.as_str())?;
    let said = start().await;
    assert!(said.contains("data key v1 does not open"), "{said}");
    std::fs::write(&file, right.replace("v1 ", "v2 "))?;
    let said = start().await;
    assert!(said.contains("key v1 is missing") && said.contains("copy its line"), "{said}");
    std::fs::write(&file, &right)?;
    assert_eq!(start().await, "started");
    Ok(())
}
