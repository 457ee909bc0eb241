//! `scale`: what a job costs in a database that holds a thousand, or a million of them.

use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, Executor};
use std::str::FromStr;
use tokio::time::Instant;

use crate::database;
use crate::fleet::{Fleet, Work};
use crate::queue::{Bench, Watch};
use crate::stats;

/// Jobs measured at each size.
const JOBS: usize = 2_000;
const CALLERS: usize = 64;
const AGENTS: usize = 64;
const DEADLINE: Duration = Duration::from_secs(300);

/// Prints a line for each size.
pub(crate) async fn measure(server: &str, sizes: &[u32]) -> Result<()> {
    for size in sizes {
        let mut bench = Bench::open(server, &format!("scale_{size}"), AGENTS).await?;
        let filled = Instant::now();
        fill(&bench, *size).await.context("the database was not filled")?;
        let filled = filled.elapsed();
        let watch = Arc::new(Watch::default());
        let place = bench.controller.place.clone();
        let agents = bench.shop.agents.clone();
        let fleet = Fleet::start(&place, &agents, 16, Work::Steps(5), watch.clone()).await?;
        // Not counted: caches and plans.
        bench.enqueue(JOBS / 4, CALLERS).await?;
        watch.stored.reaches(JOBS / 4, DEADLINE).await?;
        let (before, start) = (bench.spent(), Instant::now());
        bench.enqueue(JOBS, CALLERS).await?;
        watch.stored.reaches(JOBS / 4 + JOBS, DEADLINE).await?;
        let took = start.elapsed();
        let spent: Vec<String> = before
            .iter()
            .zip(bench.spent())
            .map(|((who, before), (_, after))| {
                format!("{who} {:.0}", (after - before) * 1e6 / stats::count(JOBS))
            })
            .collect();
        fleet.stop().await;
        let line = format!(
            "{size:>9} jobs, {:>9} events (filled in {:.0} s): {:.0} lifecycles/s; processor µs a job: {}",
            u64::from(*size) * 10,
            filled.as_secs_f64(),
            stats::rate(JOBS, took),
            spent.join(", ")
        );
        writeln!(std::io::stdout().lock(), "{line}")?;
        bench.close().await;
    }
    Ok(())
}

/// `size` ended publications and ten times as many events, spread over the shop's accounts and listings.
async fn fill(bench: &Bench, size: u32) -> Result<()> {
    if let Some(path) = bench.database.url.strip_prefix("sqlite:") {
        let mut conn = SqliteConnectOptions::from_str(path)?.busy_timeout(DEADLINE).connect().await?;
        conn.execute(AssertSqlSafe(SQLITE.replace("$size", &size.to_string()))).await?;
        conn.close().await?;
    } else {
        let mut conn = database::connect(&bench.database.url).await?;
        conn.execute(AssertSqlSafe(POSTGRES.replace("$size", &size.to_string()))).await?;
        conn.execute("VACUUM ANALYZE").await?;
        conn.close().await?;
    }
    Ok(())
}

const POSTGRES: &str = "
    CREATE TEMP TABLE a AS SELECT row_number() OVER () - 1 AS n, id, workspace_id, agent_id FROM accounts;
    CREATE TEMP TABLE l AS SELECT row_number() OVER () - 1 AS n, id FROM listings;
    CREATE TEMP TABLE f AS SELECT i, md5('p' || i)::uuid AS p, md5('j' || i)::uuid AS j, md5('i' || i)::uuid AS t,
            a.id AS account, a.workspace_id AS w, a.agent_id AS agent, l.id AS listing,
            now() - i * interval '10 s' AS at
        FROM generate_series(1, $size) i JOIN a ON a.n = i % (SELECT count(*) FROM a)
            JOIN l ON l.n = i % (SELECT count(*) FROM l);
    INSERT INTO postings SELECT p, w, listing, account, 1, 'failed', j, t, NULL, NULL, NULL, NULL, at, at, 4 FROM f;
    INSERT INTO intents (id, workspace_id, posting_id, account_id, generation, state, fingerprint, looks_taken,
            looks_clean, created_at, updated_at, version)
        SELECT t, w, p, account, 1, 'preparing', '', 0, 0, at, at, 1 FROM f;
    INSERT INTO jobs (id, workspace_id, kind, agent_id, account_id, posting_id, intent_id, state, priority, attempt,
            run_lease, run_after, cancel_requested, created_at, updated_at, version)
        SELECT j, w, 'publish', agent, account, p, t, 'failed', 0, 1, nextval('run_leases'), at, FALSE, at, at, 4 FROM f;
    INSERT INTO events SELECT w, s.event_seq + (i - 1) * 10 + k, at, 'job.changed', account, NULL, p, j, agent,
            '{\"state\": \"failed\"}' FROM f JOIN workspaces s ON s.id = f.w CROSS JOIN generate_series(1, 10) k;
    UPDATE workspaces SET event_seq = event_seq + $size::bigint * 10 WHERE id IN (SELECT w FROM f);
";

const SQLITE: &str = "
    PRAGMA foreign_keys = OFF;
    BEGIN IMMEDIATE;
    CREATE TEMP TABLE a AS SELECT row_number() OVER () - 1 AS n, id, workspace_id, agent_id FROM accounts;
    CREATE TEMP TABLE l AS SELECT row_number() OVER () - 1 AS n, id FROM listings;
    CREATE INDEX temp.an ON a (n);
    CREATE INDEX temp.ln ON l (n);
    CREATE TEMP TABLE f AS WITH RECURSIVE s (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM s WHERE i < $size)
        SELECT i, unhex(printf('%08x%024x', i * 2654435761 % 4294967296, i)) AS p,
            unhex(printf('%08x%024x', i * 2246822519 % 4294967296, i)) AS j,
            unhex(printf('%08x%024x', i * 3266489917 % 4294967296, i)) AS t,
            a.id AS account, a.workspace_id AS w, a.agent_id AS agent, l.id AS listing,
            (SELECT max(created_at) FROM listings) - i * 10000000 AS at
        FROM s JOIN a ON a.n = i % (SELECT count(*) FROM a) JOIN l ON l.n = i % (SELECT count(*) FROM l);
    INSERT INTO postings (id, workspace_id, listing_id, account_id, generation, state, job_id, intent_id, created_at,
            updated_at, version)
        SELECT p, w, listing, account, 1, 'failed', j, t, at, at, 4 FROM f;
    INSERT INTO intents (id, workspace_id, posting_id, account_id, generation, state, fingerprint, looks_taken,
            looks_clean, created_at, updated_at, version)
        SELECT t, w, p, account, 1, 'preparing', '', 0, 0, at, at, 1 FROM f;
    INSERT INTO jobs (id, workspace_id, kind, agent_id, account_id, posting_id, intent_id, state, priority, attempt,
            run_lease, run_after, cancel_requested, created_at, updated_at, version)
        SELECT j, w, 'publish', agent, account, p, t, 'failed', 0, 1, i, at, 0, at, at, 4 FROM f;
    UPDATE counters SET value = value + $size WHERE name = 'run_leases';
    INSERT INTO events (workspace_id, seq, stored_at, kind, account_id, posting_id, job_id, agent_id, data)
        SELECT w, (SELECT event_seq FROM workspaces WHERE id = w) + (i - 1) * 10 + k.value, at, 'job.changed', account, p,
            j, agent, '{\"state\":\"failed\"}' FROM f, json_each('[1,2,3,4,5,6,7,8,9,10]') k;
    UPDATE workspaces SET event_seq = event_seq + $size * 10 WHERE id IN (SELECT w FROM f);
    COMMIT;
    ANALYZE;
";
