#!/usr/bin/env bash
# Refreshes the descriptions that builds without a database check their queries against:
#   deploy/sqlx.sh           writes crates/store-{sqlite,postgres}/.sqlx
#   deploy/sqlx.sh --check   changes nothing; fails when they are not what the queries and migrations give
# Each engine gets a fresh database with all migrations. SQLite needs python3 (its sqlite3 module), PostgreSQL the server
# that deploy/postgres.sh starts.
set -euo pipefail

fail() { echo "sqlx.sh: $*" >&2; exit 1; }

mode=${1:-}
case "$mode" in ""|--check) ;; *) fail "usage: deploy/sqlx.sh [--check]" ;; esac
root=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd -P)
cd "$root"
command -v python3 >/dev/null || fail "python3 is missing; run deploy/bootstrap.sh"

scratch=$(mktemp -d)
database=sqlx_$$
server=$(deploy/postgres.sh start)
psql=$(find /usr/lib/postgresql -mindepth 3 -maxdepth 3 -name psql 2>/dev/null | sort -V | tail -n 1)
psql=${psql:-$(command -v psql)} || fail "psql is missing; run deploy/bootstrap.sh"
on_server() { "$psql" -XAtq -v ON_ERROR_STOP=1 "$@"; }
clean_up() {
    rm -rf "$scratch"
    on_server -d "$server" -c "drop database if exists $database with (force)" 2>/dev/null || true
}
trap clean_up EXIT

on_server -d "$server" -c "create database $database"
postgres_url=${server/\/postgres\?/\/$database?}
for file in migrations/postgres/*.sql; do
    on_server -1 -d "$postgres_url" -f "$file" || fail "$file does not apply"
done

sqlite_url=sqlite:$scratch/fresh.db
python3 - "$scratch/fresh.db" migrations/sqlite/*.sql <<'EOF'
import sqlite3
import sys

database = sqlite3.connect(sys.argv[1])
for name in sys.argv[2:]:
    with open(name, encoding="utf-8") as migration:
        try:
            database.executescript(migration.read())
        except sqlite3.Error as error:
            sys.exit(f"sqlx.sh: {name} does not apply: {error}")
EOF

# A crate's queries are described while it is compiled, into the given directory.
describe() { # engine, directory
    SQLX_OFFLINE=false SQLX_OFFLINE_DIR=$2 TRADEPOST_SQLX_SQLITE_URL=$sqlite_url TRADEPOST_SQLX_POSTGRES_URL=$postgres_url \
        cargo check --quiet --package "tradepost-store-$1"
}

status=0
for engine in sqlite postgres; do
    kept=crates/store-$engine/.sqlx
    fresh=$scratch/$engine
    mkdir -p "$fresh"
    describe "$engine" "$fresh"
    if [ "$mode" = --check ]; then
        diff -rq "$fresh" "$kept" >/dev/null 2>&1 || { echo "sqlx.sh: $kept is out of date; run make sqlx and commit it" >&2; status=1; }
    else
        rm -rf "$kept"
        cp -r "$fresh" "$kept"
        echo "$kept: $(find "$kept" -name '*.json' | wc -l) queries"
    fi
done
exit "$status"
