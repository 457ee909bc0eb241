//! Rebuilds when a migration or a checked query's description changes: both are read by macros.

fn main() {
    println!("cargo:rerun-if-changed=../../migrations/postgres");
    println!("cargo:rerun-if-changed=.sqlx");
    println!("cargo:rerun-if-env-changed=TRADEPOST_SQLX_POSTGRES_URL");
}
