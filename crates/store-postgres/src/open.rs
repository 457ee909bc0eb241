//! Connecting to a server, with a clear word when it cannot be.

use std::str::FromStr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use sqlx::pool::PoolConnectionMetadata;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{ConnectOptions, Connection, PgConnection};
use tokio::sync::{broadcast, mpsc};
use tradepost_domain::id::ControllerId;
use tradepost_runtime::tasks::Tasks;
use tradepost_store::{Database, Error};

use crate::backend::{Backend, LANE_LOCK, LANE_STATEMENT, Queues, Telling};
use crate::{beats, coalesce, gather, group, notify, pacing};

/// Hints that a slow receiver may be behind before it loses the oldest.
const HINTS: usize = 4096;
/// Questions that may wait before callers are held back.
const QUESTIONS: usize = 1024;
/// A connection that was used within this time is not tested before its next use.
const TRUSTED: Duration = Duration::from_secs(1);
/// A beat waits this long for others, so that a thousand agents' beats are some statements a second. Its answer is of no hurry.
const BEAT_DELAY: Duration = Duration::from_millis(10);
/// A connection of a pool is waited for this long. The pool's pauses between two tries to connect double up to a fifth of it:
/// with more, a server that was restarted would be found many seconds after it is back.
const ACQUIRE_WITHIN: Duration = Duration::from_secs(10);
/// The server's answer to the first connection is waited for this long.
const CONNECT_WITHIN: Duration = Duration::from_secs(10);

/// How to connect to the database.
#[derive(Clone)]
pub struct Options {
    /// `postgres://user:password@host:5432/name`; options as libpq knows them, e.g. `?sslmode=require`.
    pub url: String,
    /// Most connections for statements, 1 or more; two more serve hints.
    pub max_connections: u32,
    /// This controller: its own hints do not come back to it.
    pub controller: ControllerId,
}

impl std::fmt::Debug for Options {
    /// Without the URL, which may hold a password.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Options")
            .field("max_connections", &self.max_connections)
            .field("controller", &self.controller)
            .finish_non_exhaustive()
    }
}

/// Connects, and starts to listen for other controllers' hints. Nothing is migrated yet: call [`Store::migrate`].
///
/// `Error::Setup` when the URL is none, nobody answers, the sign-in is refused, or the database does not exist.
pub async fn open(options: Options) -> Result<Arc<dyn Database>, Error> {
    let base = PgConnectOptions::from_str(&options.url)
        .ok()
        .filter(|_| options.url.starts_with("postgres://") || options.url.starts_with("postgresql://"))
        .ok_or_else(|| {
            Error::Setup(String::from(
                "the database URL is no PostgreSQL address; write postgres://user:password@host:5432/name",
            ))
        })?
        .application_name("tradepost-controller");
    try_once(&base).await?;
    // Compiling a statement pays for none of ours.
    let limited =
        base.clone().options([("statement_timeout", "30s"), ("lock_timeout", "10s"), ("jit", "off")]);
    let pool = PgPoolOptions::new()
        .max_connections(options.max_connections.max(1))
        .acquire_timeout(ACQUIRE_WITHIN)
        // One that was used a moment ago is trusted; a lost one would show as an error of its first statement.
        .test_before_acquire(false)
        .before_acquire(|conn, meta| Box::pin(async move { tested(conn, meta).await }))
        .connect_lazy_with(limited.clone());
    let hint_pool = PgPoolOptions::new()
        .max_connections(2)
        .acquire_timeout(CONNECT_WITHIN)
        .connect_lazy_with(base.clone().application_name("tradepost-controller hints"));
    let (hints, _) = broadcast::channel(HINTS);
    let (outbox, queue) = mpsc::channel(HINTS);
    let telling = Telling { hints: hints.clone(), outbox: Arc::new(Mutex::new(Some(outbox))) };
    // Their own set: they outlive every task that may still want to write while the process drains.
    let tasks = Tasks::new();
    tasks.spawn("postgres_notify", notify::send(hint_pool.clone(), options.controller, queue));
    tasks.spawn(
        "postgres_listen",
        notify::listen(hint_pool.clone(), options.controller, hints, tasks.shutdown_token()),
    );
    let keyed = keyed(&limited);
    let queues = Mutex::new(Some(serve_queues(&keyed, &telling, &tasks)));
    let keyed = PgPoolOptions::new()
        .max_connections(2)
        .acquire_timeout(ACQUIRE_WITHIN)
        .test_before_acquire(false)
        .before_acquire(|conn, meta| Box::pin(async move { tested(conn, meta).await }))
        .connect_lazy_with(keyed);
    Ok(Arc::new(Backend { migrate: base, pool, keyed, hint_pool, telling, queues, tasks }))
}

async fn tested(conn: &mut PgConnection, meta: PoolConnectionMetadata) -> Result<bool, sqlx::Error> {
    if meta.idle_for > TRUSTED {
        conn.ping().await?;
    }
    Ok(true)
}

/// For statements that look rows up by key, a few hundred at most. A plan that was made while a table was small or not yet
/// analysed must not read all of it once it has grown.
fn keyed(limited: &PgConnectOptions) -> PgConnectOptions {
    limited.clone().options([
        ("enable_seqscan", "off"),
        ("enable_bitmapscan", "off"),
        ("enable_hashjoin", "off"),
        ("enable_mergejoin", "off"),
        ("plan_cache_mode", "force_generic_plan"),
        ("statement_timeout", LANE_STATEMENT),
        ("lock_timeout", LANE_LOCK),
    ])
}

/// Starts the tasks that write and read for many callers at once, each on connections of its own.
fn serve_queues(keyed: &PgConnectOptions, telling: &Telling, tasks: &Tasks) -> Queues {
    let lanes = |number: usize| {
        let (writes, queue) = mpsc::channel(group::QUEUE);
        let queue = Arc::new(tokio::sync::Mutex::new(queue));
        for _ in 0..number {
            tasks.spawn("postgres_writes", group::serve(keyed.clone(), Arc::clone(&queue), telling.clone()));
        }
        writes
    };
    let (creations, writes) = (lanes(group::CREATORS), lanes(group::LANES));
    let at_once = Duration::ZERO;
    let (grounds, asked) = mpsc::channel(QUESTIONS);
    tasks.spawn("postgres_grounds", coalesce::serve(keyed.clone(), asked, gather::load_grounds, at_once));
    let (supplies, asked) = mpsc::channel(QUESTIONS);
    tasks.spawn("postgres_supplies", coalesce::serve(keyed.clone(), asked, gather::load_supplies, at_once));
    let (runs, asked) = mpsc::channel(QUESTIONS);
    tasks.spawn("postgres_runs", coalesce::serve(keyed.clone(), asked, gather::load_runs, at_once));
    let (agent_runs, asked) = mpsc::channel(QUESTIONS);
    tasks.spawn(
        "postgres_agent_runs",
        coalesce::serve(keyed.clone(), asked, beats::load_agent_runs, BEAT_DELAY),
    );
    let (beats, asked) = mpsc::channel(QUESTIONS);
    tasks.spawn("postgres_beats", coalesce::serve(keyed.clone(), asked, beats::extend, at_once));
    let (pacing, asked) = mpsc::channel(QUESTIONS);
    tasks.spawn("postgres_pacing", coalesce::serve(keyed.clone(), asked, pacing::load, at_once));
    Queues { creations, writes, grounds, supplies, runs, agent_runs, beats, pacing }
}

/// A pool would try again and again, and say at last only that it did.
async fn try_once(options: &PgConnectOptions) -> Result<(), Error> {
    let place = format!("{}:{}", options.get_host(), options.get_port());
    let connected = tokio::time::timeout(CONNECT_WITHIN, options.connect())
        .await
        .map_err(|_| Error::Setup(format!("PostgreSQL at {place} does not answer; is the address right?")))?;
    let conn = connected.map_err(|error| explain(options, &place, &error))?;
    conn.close().await.map_err(crate::error::translate)
}

fn explain(options: &PgConnectOptions, place: &str, error: &sqlx::Error) -> Error {
    let code = error.as_database_error().and_then(|cause| cause.code().map(std::borrow::Cow::into_owned));
    let (user, name) = (options.get_username(), options.get_database().unwrap_or(options.get_username()));
    Error::Setup(match (code.as_deref(), error) {
        (Some("28P01" | "28000"), _) => {
            format!(
                "PostgreSQL at {place} refuses the user {user}; check user and password of the database URL"
            )
        }
        (Some("3D000"), _) => {
            format!(
                "PostgreSQL at {place} has no database {name}; make it with: createdb -h {} {name}",
                options.get_host()
            )
        }
        (Some("42501"), _) => format!("the user {user} may not use the database {name}; grant it CONNECT"),
        (None, sqlx::Error::Io(cause)) => {
            format!("no PostgreSQL answers at {place} ({cause}); start it, or mend the database URL")
        }
        _ => format!("cannot connect to PostgreSQL at {place}: {error}"),
    })
}
