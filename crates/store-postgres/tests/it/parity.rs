//! Both engines have the same migrations and the same schema.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::{Context, Result};
use sqlx::migrate::Migrator;
use sqlx::{Connection, PgConnection, Row, SqliteConnection};
use tradepost_testkit::workspace_root;

use crate::migrated;

/// A column's type as SQLite would have it, and whether it may be null.
type Columns = BTreeMap<String, (String, bool)>;

/// Tables with their columns, indexes (name, table, unique, partial), named constraints.
#[derive(Debug, Default, PartialEq, Eq)]
struct Schema {
    tables: BTreeMap<String, Columns>,
    indexes: BTreeSet<(String, String, bool, bool)>,
}

#[test]
fn migrations_have_the_same_names() -> Result<()> {
    let names = |engine: &str| -> Result<Vec<String>> {
        let folder = workspace_root().join("migrations").join(engine);
        let mut names = std::fs::read_dir(folder)?
            .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
            .collect::<Result<Vec<_>>>()?;
        names.sort();
        Ok(names)
    };
    let (postgres, sqlite) = (names("postgres")?, names("sqlite")?);
    assert_eq!(postgres, sqlite);
    for (n, name) in postgres.iter().enumerate() {
        assert!(name.starts_with(&format!("{:04}_", n + 1)), "{name} is out of sequence");
    }
    Ok(())
}

#[test]
fn shared_queries_are_cached_for_both() -> Result<()> {
    let cached = |engine: &str| -> Result<BTreeSet<String>> {
        let folder = workspace_root().join(format!("crates/store-{engine}/.sqlx"));
        std::fs::read_dir(folder)?
            .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
            .collect()
    };
    let (postgres, sqlite) = (cached("postgres")?, cached("sqlite")?);
    let shared = postgres.intersection(&sqlite).count();
    assert!(shared > 50, "only {shared} of {} and {} queries are shared", postgres.len(), sqlite.len());
    Ok(())
}

#[tokio::test]
async fn schemas_are_the_same() -> Result<()> {
    let (postgres, sqlite) = (postgres_schema().await?, sqlite_schema().await?);
    assert_eq!(postgres.tables.keys().collect::<Vec<_>>(), sqlite.tables.keys().collect::<Vec<_>>());
    for (table, columns) in &postgres.tables {
        assert_eq!(Some(columns), sqlite.tables.get(table), "columns of {table}");
    }
    assert_eq!(postgres.indexes, sqlite.indexes);
    assert!(postgres.indexes.len() > 30, "{:?}", postgres.indexes);
    assert_eq!(constraints("postgres")?, constraints("sqlite")?);
    Ok(())
}

/// The names of constraints, from the texts: SQLite does not list them. A state that only one engine checks shows here.
/// Foreign keys that PostgreSQL let go of count as they are in SQLite, which keeps them.
fn constraints(engine: &str) -> Result<BTreeSet<String>> {
    let mut found = BTreeSet::new();
    for entry in std::fs::read_dir(workspace_root().join("migrations").join(engine))? {
        let text = std::fs::read_to_string(entry?.path())?;
        let code: Vec<_> = text.lines().filter(|line| !line.trim_start().starts_with("--")).collect();
        let statement = code
            .join(" ")
            .replace("DROP CONSTRAINT", "DROP")
            .split_whitespace()
            .collect::<Vec<_>>()
            .join(" ")
            .replace(" COLLATE \"C\"", "");
        for constraint in statement.split("CONSTRAINT ").skip(1) {
            let end = constraint.find(['\n', ';']).unwrap_or(constraint.len());
            let name = constraint.split(' ').next().unwrap_or_default();
            let states: Vec<_> = constraint[..end].split('\'').skip(1).step_by(2).collect();
            found.insert(format!("{name}: {}", states.join(" ")));
        }
    }
    // What one engine has in its own way: a boolean, and the numbers of claims.
    found.retain(|constraint| {
        !constraint.starts_with("jobs_cancel_requested") && !constraint.starts_with("counters_pk")
    });
    Ok(found)
}

async fn postgres_schema() -> Result<Schema> {
    let database = migrated().await?;
    let mut conn = PgConnection::connect(database.url()).await?;
    let mut schema = Schema::default();
    let columns = sqlx::query(
        "SELECT table_name::text, column_name::text, data_type::text, is_nullable = 'YES' FROM information_schema.columns
         WHERE table_schema = 'public' AND table_name <> '_sqlx_migrations'",
    );
    for row in columns.fetch_all(&mut conn).await? {
        let (table, column, stored): (String, String, String) = (row.get(0), row.get(1), row.get(2));
        let stored = match stored.as_str() {
            "uuid" | "bytea" => "BLOB",
            "text" | "jsonb" => "TEXT",
            "bigint" | "boolean" | "timestamp with time zone" => "INTEGER",
            other => anyhow::bail!("{table}.{column} has the type {other}, which no rule maps"),
        };
        schema.tables.entry(table).or_default().insert(column, (stored.to_owned(), row.get(3)));
    }
    let indexes = sqlx::query(
        "SELECT c.relname::text, t.relname::text, i.indisunique, i.indpred IS NOT NULL
         FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_class t ON t.oid = i.indrelid
             JOIN pg_namespace n ON n.oid = c.relnamespace
         WHERE n.nspname = 'public' AND NOT i.indisprimary AND t.relname <> '_sqlx_migrations'",
    );
    for row in indexes.fetch_all(&mut conn).await? {
        schema.indexes.insert((row.get(0), row.get(1), row.get(2), row.get(3)));
    }
    conn.close().await?;
    Ok(schema)
}

async fn sqlite_schema() -> Result<Schema> {
    let mut conn = SqliteConnection::connect("sqlite::memory:").await?;
    let migrations = workspace_root().join("migrations/sqlite");
    Migrator::new(Path::new(&migrations)).await?.run(&mut conn).await?;
    let mut schema = Schema::default();
    let columns = sqlx::query(
        "SELECT t.name, c.name, c.type, c.\"notnull\" FROM sqlite_schema t, pragma_table_info(t.name) c
         WHERE t.type = 'table' AND t.name NOT IN ('_sqlx_migrations', 'sqlite_sequence', 'counters')",
    );
    for row in columns.fetch_all(&mut conn).await? {
        let not_null: bool = row.get(3);
        schema.tables.entry(row.get(0)).or_default().insert(row.get(1), (row.get(2), !not_null));
    }
    let indexes =
        sqlx::query("SELECT name, tbl_name, sql FROM sqlite_schema WHERE type = 'index' AND sql IS NOT NULL");
    for row in indexes.fetch_all(&mut conn).await? {
        let sql: String = row.get::<Option<String>, _>(2).context("no text")?;
        let (unique, partial) = (sql.starts_with("CREATE UNIQUE"), sql.contains(" WHERE "));
        schema.indexes.insert((row.get(0), row.get(1), unique, partial));
    }
    conn.close().await?;
    Ok(schema)
}
