//! No checked query reads a whole table: every one in the cache is explained, with sequential scans allowed only where
//! nothing else is possible.

use anyhow::{Context, Result};
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection, Row};
use tradepost_testkit::workspace_root;

use crate::migrated;

#[tokio::test]
async fn no_query_scans_a_table() -> Result<()> {
    let database = migrated().await?;
    let mut conn = PgConnection::connect(database.url()).await?;
    conn.execute("SET plan_cache_mode = force_generic_plan").await?;
    conn.execute("SET enable_seqscan = off").await?;
    conn.execute("SET enable_bitmapscan = off").await?;
    let (mut explained, mut bad) = (0, Vec::new());
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
        // Metrics count everything there is.
        let scans = plan.iter().any(|line| line.contains("Seq Scan")) && !query.contains("GROUP BY state");
        let sorts = plan.iter().any(|line| line.contains("Sort")) && query.contains("(created_at, id) <");
        if scans || sorts {
            bad.push(format!("{query}\n  {}", plan.join("\n  ")));
        }
    }
    assert!(bad.is_empty(), "{}", bad.join("\n\n"));
    assert!(explained > 50, "only {explained} queries in the cache");
    conn.close().await?;
    Ok(())
}
