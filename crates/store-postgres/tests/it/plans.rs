//! No checked query reads a whole table: every one in the cache is explained, with sequential scans allowed only where
//! nothing else is possible.

use std::collections::BTreeSet;

use anyhow::{Context, Result};
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection, Row};
use tradepost_testkit::workspace_root;

use crate::migrated;

/// Parts of queries that run often, each with the indexes that its plan has to use.
const EXPECTED: [(&str, &[&str]); 7] = [
    // Claims: a long queue that has to wait costs one look, and keeps no other job waiting.
    (".publish_from <= $", &["jobs_publications", "jobs_errands"]),
    ("armed_at > w.since", &["intents_used"]),
    ("publish_until IS NOT NULL AND", &["accounts_window_ends"]),
    ("AND discarded_at IS NULL", &["jobs_dead_letters"]),
    ("AND kind = 'login'", &["jobs_one_login"]),
    ("AND kind = 'reconcile'", &["jobs_one_look"]),
    ("kind <> 'publish' AND run_started_at", &["jobs_errand_runs"]),
];

#[tokio::test]
async fn no_query_scans_a_table() -> Result<()> {
    let database = migrated().await?;
    let mut conn = PgConnection::connect(database.url()).await?;
    conn.execute("SET enable_seqscan = off").await?;
    conn.execute("SET enable_bitmapscan = off").await?;
    no_scans(conn, &EXPECTED, |line| line.contains("Seq Scan")).await
}

/// Tables with rows enough that the planner prefers an index by itself where one serves: what it then chooses is what it
/// chooses for millions, as each index path's cost grows with the depth of the tree only.
#[tokio::test]
async fn the_planner_itself_reads_no_table_that_grows() -> Result<()> {
    let database = migrated().await?;
    let mut conn = PgConnection::connect(database.url()).await?;
    conn.execute(FILL).await?;
    conn.execute("ANALYZE").await?;
    // Sessions and counters are tidied in batches, for which the planner, which does not know their size, may read all.
    let grows = [
        "jobs",
        "postings",
        "intents",
        "events",
        "run_steps",
        "receipts",
        "listings",
        "users",
        "api_tokens",
        "invitations",
        "session_tokens",
    ];
    // Some indexes are of small tables, or of rows that there are few of: the planner may do without.
    no_scans(conn, &[], |line| {
        line.split_once("Seq Scan on ")
            .is_some_and(|(_, rest)| grows.contains(&rest.split(' ').next().unwrap_or("")))
    })
    .await
}

/// 100 accounts of one agent, 30,000 listings, ended publications and receipts, 90,000 events; 5,000 users with 4 sessions
/// and API tokens each, all members of one workspace, as many invitations and counters.
const FILL: &str = "
    INSERT INTO workspaces VALUES (md5('w')::uuid, 'w', 90000, now());
    INSERT INTO agents (id, workspace_id, name, key_hash, platform, program_version, created_at)
        VALUES (md5('g')::uuid, md5('w')::uuid, 'g', 'k', 'p', 'v', now());
    INSERT INTO accounts SELECT md5('a' || i)::uuid, md5('w')::uuid, 'a' || i, 'sandbox', 'http://x/', NULL, 'EUR',
        md5('g')::uuid, now(), 1 FROM generate_series(0, 99) i;
    INSERT INTO listings SELECT md5('l' || i)::uuid, md5('w')::uuid, 't', 'd', 1, 'EUR', 'c', 'good', 'b', '', '{}',
        now() - i * interval '1 s', now(), NULL, 1 FROM generate_series(0, 29999) i;
    INSERT INTO postings SELECT md5('p' || i)::uuid, md5('w')::uuid, md5('l' || i % 30000)::uuid, md5('a' || i % 100)::uuid,
        1, 'failed', md5('j' || i)::uuid, md5('i' || i)::uuid, NULL, NULL, NULL, NULL, now() - i * interval '1 s', now(), 1
        FROM generate_series(1, 30000) i;
    INSERT INTO intents (id, workspace_id, posting_id, account_id, generation, state, fingerprint, looks_taken,
            looks_clean, created_at, updated_at, version)
        SELECT md5('i' || i)::uuid, md5('w')::uuid, md5('p' || i)::uuid, md5('a' || i % 100)::uuid, 1, 'preparing', '', 0,
            0, now(), now(), 1 FROM generate_series(1, 30000) i;
    INSERT INTO jobs (id, workspace_id, kind, agent_id, account_id, posting_id, intent_id, state, priority, attempt,
            run_lease, run_after, cancel_requested, created_at, updated_at, version)
        SELECT md5('j' || i)::uuid, md5('w')::uuid, 'publish', md5('g')::uuid, md5('a' || i % 100)::uuid,
            md5('p' || i)::uuid, md5('i' || i)::uuid, 'failed', 0, 1, i, now(), FALSE, now() - i * interval '1 s', now(), 3
        FROM generate_series(1, 30000) i;
    INSERT INTO receipts SELECT md5('i' || i)::uuid, md5('w')::uuid, md5('p' || i)::uuid, '{}', now()
        FROM generate_series(1, 30000) i;
    INSERT INTO run_steps SELECT md5('j' || i)::uuid, i, 1, 'prepare', 'title', 'succeeded', '', 1, 1, 1,
        now() - i * interval '1 s' FROM generate_series(1, 30000) i;
    INSERT INTO events SELECT md5('w')::uuid, i, now(), 'job.changed', NULL, NULL, md5('p' || i / 3)::uuid,
        md5('j' || i / 3)::uuid, NULL, '{}' FROM generate_series(1, 90000) i;
    INSERT INTO users (id, email, state, is_operator, created_at)
        SELECT md5('u' || i)::uuid, 'u' || i || '@example.com', CASE i % 50 WHEN 0 THEN 'pending' ELSE 'active' END, i = 0, now()
        FROM generate_series(0, 4999) i;
    INSERT INTO memberships SELECT md5('w')::uuid, md5('u' || i)::uuid, 'editor', now() FROM generate_series(0, 4999) i;
    INSERT INTO invitations SELECT md5('n' || i)::uuid, md5('w')::uuid, '', 'viewer', sha256(('n' || i)::bytea),
        md5('u' || i % 5000)::uuid, now() - i * interval '1 s', now(), NULL, NULL FROM generate_series(0, 19999) i;
    INSERT INTO api_tokens SELECT md5('t' || i)::uuid, md5('u' || i % 5000)::uuid, md5('w')::uuid, 'ci', '*',
        sha256(('t' || i)::bytea), now() - i * interval '1 s', NULL, NULL, NULL FROM generate_series(0, 19999) i;
    INSERT INTO sessions SELECT md5('s' || i)::uuid, md5('u' || i % 5000)::uuid, md5('w')::uuid, 'c', '192.0.2.1', 1, now(),
        now() - i * interval '1 s', now(), now() + interval '12 h', NULL FROM generate_series(0, 19999) i;
    INSERT INTO session_tokens SELECT sha256(('k' || i)::bytea), md5('s' || i % 20000)::uuid, 'access', 1, now()
        FROM generate_series(0, 39999) i;
    INSERT INTO throttles SELECT 'login:net:' || i, 1, i, i FROM generate_series(0, 19999) i;
";

/// Explains every cached query with a plan for any arguments.
async fn no_scans(
    mut conn: PgConnection,
    wanted: &[(&str, &[&str])],
    is_scan: impl Fn(&str) -> bool,
) -> Result<()> {
    conn.execute("SET plan_cache_mode = force_generic_plan").await?;
    let (mut explained, mut bad, mut expected) = (0, Vec::new(), BTreeSet::new());
    for entry in std::fs::read_dir(workspace_root().join("crates/store-postgres/.sqlx"))? {
        let cached: serde_json::Value = serde_json::from_slice(&std::fs::read(entry?.path())?)?;
        let query = cached["query"].as_str().context("no query")?;
        let parameters = cached["describe"]["parameters"]["Left"].as_array().map_or(0, Vec::len);
        let arguments = if parameters == 0 {
            String::new()
        } else {
            format!("({})", vec!["NULL"; parameters].join(", "))
        };
        conn.execute(AssertSqlSafe(format!("PREPARE explained AS {query}"))).await?;
        let plan = sqlx::raw_sql(AssertSqlSafe(format!("EXPLAIN EXECUTE explained{arguments}")))
            .fetch_all(&mut conn)
            .await?;
        conn.execute("DEALLOCATE explained").await?;
        let plan: Vec<String> = plan.iter().map(|row| row.get(0)).collect();
        explained += 1;
        for (part, indexes) in wanted {
            if query.contains(part) {
                expected.insert(*part);
                let unused = indexes.iter().find(|index| !plan.iter().any(|line| line.contains(*index)));
                bad.extend(
                    unused.map(|index| format!("{query}\n  does not use {index}\n  {}", plan.join("\n  "))),
                );
            }
        }
        let scans = plan.iter().any(|line| is_scan(line));
        let sorts = plan.iter().any(|line| line.contains("Sort")) && query.contains("(created_at, id) <");
        if scans || sorts {
            bad.push(format!("{query}\n  {}", plan.join("\n  ")));
        }
    }
    assert!(bad.is_empty(), "{}", bad.join("\n\n"));
    assert_eq!(expected.len(), wanted.len(), "only {expected:?} are in the cache");
    assert!(explained > 50, "only {explained} queries in the cache");
    conn.close().await?;
    Ok(())
}
