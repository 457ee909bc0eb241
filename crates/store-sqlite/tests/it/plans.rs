//! No checked query reads a whole table: every one in the cache is explained on a migrated database.

use std::collections::BTreeSet;

use anyhow::{Context, Result};
use sqlx::{AssertSqlSafe, Connection, Row, SqliteConnection};
use tradepost_testkit::workspace_root;

use crate::fresh;

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
    let (database, store) = fresh().await?;
    let path = database.path().context("no path")?;
    let mut conn = SqliteConnection::connect(&path.display().to_string()).await?;
    let (mut explained, mut bad, mut expected) = (0, Vec::new(), BTreeSet::new());
    for entry in std::fs::read_dir(workspace_root().join("crates/store-sqlite/.sqlx"))? {
        let cached: serde_json::Value = serde_json::from_slice(&std::fs::read(entry?.path())?)?;
        let query = cached["query"].as_str().context("no query")?.to_owned();
        let plan =
            sqlx::query(AssertSqlSafe(format!("EXPLAIN QUERY PLAN {query}"))).fetch_all(&mut conn).await?;
        let plan: Vec<String> = plan.iter().map(|row| row.get("detail")).collect();
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
        if query.contains("GROUP BY state") {
            continue;
        }
        let scans = plan.iter().any(|line| line.starts_with("SCAN ") && !line.contains("CONSTANT ROW"));
        let sorts = plan.iter().any(|line| line.contains("TEMP B-TREE"));
        // The few rows of one agent, job, listing or claim may be sorted; lists never.
        if scans || sorts && query.contains("(created_at, id) <") {
            bad.push(format!("{query}\n  {}", plan.join("\n  ")));
        }
    }
    assert!(bad.is_empty(), "{}", bad.join("\n\n"));
    assert_eq!(expected.len(), EXPECTED.len(), "only {expected:?} are in the cache");
    assert!(explained > 50, "only {explained} queries in the cache");
    conn.close().await?;
    store.close().await;
    Ok(())
}
