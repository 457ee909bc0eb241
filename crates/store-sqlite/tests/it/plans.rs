//! No checked query reads a whole table: every one in the cache is explained on a migrated database.

use anyhow::{Context, Result};
use sqlx::{AssertSqlSafe, Connection, Row, SqliteConnection};
use tradepost_testkit::workspace_root;

use crate::fresh;

#[tokio::test]
async fn no_query_scans_a_table() -> Result<()> {
    let (database, store) = fresh().await?;
    let path = database.path().context("no path")?;
    let mut conn = SqliteConnection::connect(&path.display().to_string()).await?;
    let (mut explained, mut bad) = (0, Vec::new());
    for entry in std::fs::read_dir(workspace_root().join("crates/store-sqlite/.sqlx"))? {
        let cached: serde_json::Value = serde_json::from_slice(&std::fs::read(entry?.path())?)?;
        let query = cached["query"].as_str().context("no query")?.to_owned();
        let plan =
            sqlx::query(AssertSqlSafe(format!("EXPLAIN QUERY PLAN {query}"))).fetch_all(&mut conn).await?;
        let plan: Vec<String> = plan.iter().map(|row| row.get("detail")).collect();
        explained += 1;
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
    assert!(explained > 50, "only {explained} queries in the cache");
    conn.close().await?;
    store.close().await;
    Ok(())
}
