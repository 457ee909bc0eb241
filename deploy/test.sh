#!/usr/bin/env bash
# `make test`: every check of this repository, with the time that each part took. The first part that fails ends it, so that the
# last lines are about the failure.
set -euo pipefail
cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.."

times=()
began=$SECONDS
# part "what it does" command...
part() {
    local what=$1 start=$SECONDS
    shift
    printf '\n== %s: %s\n' "$what" "$*"
    "$@" || { echo "make test: $what failed after $((SECONDS - start)) s (command: $*)" >&2; exit 1; }
    times+=("$(printf '%5d s  %s' "$((SECONDS - start))" "$what")")
}

# One TLS provider, ring: a second one makes rustls panic at run time.
only_ring() {
    local others
    others=$(cargo tree --workspace --target all --edges normal,build,dev --prefix none --format '{p}' \
        | grep -E '^(aws-lc-rs|aws-lc-sys|openssl|openssl-sys|native-tls) ' | sort -u || true)
    [ -z "$others" ] || { echo "in the dependency tree, but ring is to be the only provider: $others" >&2; return 1; }
}
npm_tools() { npm ci --ignore-scripts --no-audit --no-fund --loglevel=error; }

part "tools of this machine" deploy/bootstrap.sh --tests
part "formatting" cargo fmt --all --check
part "tools from npm" npm_tools
part "protobuf lint" npm run --silent lint:proto
part "one TLS provider" only_ring
part "clippy, warnings denied" cargo clippy --workspace --all-targets --quiet -- -D warnings
part "build" cargo build --workspace --all-targets --quiet

if [ -z "${TRADEPOST_TEST_POSTGRES:-}" ]; then
    # One that ran before is somebody's, who may be using it; it stops by itself when idle.
    deploy/postgres.sh status || trap 'deploy/postgres.sh stop' EXIT
    part "private PostgreSQL" deploy/postgres.sh start
    TRADEPOST_TEST_POSTGRES=$(deploy/postgres.sh start)
    export TRADEPOST_TEST_POSTGRES
fi
part "query caches" deploy/sqlx.sh --check
part "tests" cargo nextest run --workspace
part "examples in the documentation" cargo test --workspace --doc --quiet

printf '\nAll parts passed in %d s:\n' "$((SECONDS - began))"
printf '%s\n' "${times[@]}"
