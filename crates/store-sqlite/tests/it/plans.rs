//! No checked query reads a whole table: every one in the cache is explained on a migrated database.

use std::collections::BTreeSet;

use anyhow::{Context, Result};
use sqlx::{AssertSqlSafe, Connection, Executor, Row, SqliteConnection};
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

/// As in a new installation.
#[tokio::test]
async fn no_query_scans_a_table() -> Result<()> {
    let (database, store) = fresh().await?;
    let path = database.path().context("no path")?;
    let conn = SqliteConnection::connect(&path.display().to_string()).await?;
    no_scans(conn).await?;
    store.close().await;
    Ok(())
}

/// With statistics as `ANALYZE` would leave them after a million rows, ten times as many events: the planner believes them.
#[tokio::test]
async fn no_query_scans_a_table_of_millions() -> Result<()> {
    let (database, store) = fresh().await?;
    let path = database.path().context("no path")?.display().to_string();
    let mut conn = SqliteConnection::connect(&path).await?;
    conn.execute("ANALYZE; DELETE FROM sqlite_stat1").await?;
    let indexes = "SELECT m.tbl_name, m.name, (SELECT count(*) FROM pragma_index_info(m.name)), l.\"unique\", l.partial
                   FROM sqlite_master m JOIN pragma_index_list(m.tbl_name) l ON l.name = m.name WHERE m.type = 'index'";
    for row in sqlx::query(indexes).fetch_all(&mut conn).await? {
        let (table, index, columns): (String, String, i64) = (row.get(0), row.get(1), row.get(2));
        let (unique, partial): (bool, bool) = (row.get(3), row.get(4));
        let rows: i64 = match table.as_str() {
            "events" => 10_000_000,
            "workspaces" | "users" | "tokens" | "agents" | "accounts" => 1_000,
            _ if partial => 10_000,
            _ => 1_000_000,
        };
        // Each further column leaves a tenth of the rows that are alike; all of a unique index leave one.
        let mut alike = rows;
        let mut stat = rows.to_string();
        for column in 1..=columns {
            alike = if column == columns && unique { 1 } else { (alike / 10).max(1) };
            stat.extend([" ", &alike.to_string()]);
        }
        sqlx::query("INSERT INTO sqlite_stat1 (tbl, idx, stat) VALUES ($1, $2, $3)")
            .bind(table)
            .bind(index)
            .bind(stat)
            .execute(&mut conn)
            .await?;
    }
    conn.close().await?;
    // Statistics are read when a connection opens.
    no_scans(SqliteConnection::connect(&path).await?).await?;
    store.close().await;
    Ok(())
}

/// Explains every cached query.
async fn no_scans(mut conn: SqliteConnection) -> Result<()> {
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
        // Metrics count the open jobs, by partial indexes that hold no others.
        let counts = query.contains("UNION ALL SELECT 'leased'");
        let scans = plan.iter().any(|line| {
            let partial = counts && line.contains("INDEX jobs_");
            // What a bounded sub-select gave is no table.
            line.starts_with("SCAN ") && !line.contains("CONSTANT ROW") && line != "SCAN ahead" && !partial
        });
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
    Ok(())
}
