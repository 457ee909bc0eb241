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
    ("armed_at > $2", &["intents_used"]),
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
    conn.execute("SET plan_cache_mode = force_generic_plan").await?;
    conn.execute("SET enable_seqscan = off").await?;
    conn.execute("SET enable_bitmapscan = off").await?;
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
        for (part, indexes) in EXPECTED {
            if query.contains(part) {
                expected.insert(part);
                let unused = indexes.iter().find(|index| !plan.iter().any(|line| line.contains(*index)));
                bad.extend(
                    unused.map(|index| format!("{query}\n  does not use {index}\n  {}", plan.join("\n  "))),
                );
            }
        }
        // Metrics count everything there is.
        let scans = plan.iter().any(|line| line.contains("Seq Scan")) && !query.contains("GROUP BY state");
        let sorts = plan.iter().any(|line| line.contains("Sort")) && query.contains("(created_at, id) <");
        if scans || sorts {
            bad.push(format!("{query}\n  {}", plan.join("\n  ")));
        }
    }
    assert!(bad.is_empty(), "{}", bad.join("\n\n"));
    assert_eq!(expected.len(), EXPECTED.len(), "only {expected:?} are in the cache");
    assert!(explained > 50, "only {explained} queries in the cache");
    conn.close().await?;
    Ok(())
}
