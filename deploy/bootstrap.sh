#!/usr/bin/env bash
# Brings this machine to where `make demo` and `make test` can run. What is there already is left alone, so that it ends at once the
# second time. Expected beforehand: the Rust toolchain and Node. Installed through apt where missing: a C compiler, Chromium and
# chromedriver, PostgreSQL, Python with venv.
#   deploy/bootstrap.sh           for the demo
#   deploy/bootstrap.sh --tests   for the tests as well: cargo-nextest
set -euo pipefail

need_rust=1.95
need_node=20
nextest=0.9.143

fail() { echo "bootstrap: $*" >&2; exit 1; }
have() { command -v "$1" >/dev/null 2>&1; }
# at_least 1.95 1.101.0: whether the second version is not older.
at_least() { [ "$(printf '%s\n%s\n' "$1" "$2" | sort -V | head -n 1)" = "$1" ]; }

case "${1:-}" in ""|--tests) ;; *) fail "unknown option $1; the only one is --tests" ;; esac

have cargo || fail "cargo is missing; install Rust from https://rustup.rs"
rust=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && rustc --version 2>/dev/null | cut -d' ' -f2) || rust=
[ -n "$rust" ] || fail "rustc does not run here; see what 'rustc --version' says (rust-toolchain.toml asks for $need_rust)"
at_least "$need_rust" "$rust" || fail "rustc $rust is too old, $need_rust is needed; run: rustup update"
have node || fail "node is missing; install Node.js $need_node or newer (Debian 12 has 18: take it from https://nodejs.org)"
node=$(node --version | tr -d v)
at_least "$need_node" "$node" || fail "node $node is too old, $need_node or newer is needed; see https://nodejs.org"
have npm || fail "npm is missing; it comes with Node.js (Debian: apt-get install npm)"

missing=()
have cc || missing+=(gcc libc6-dev)
have chromium || have chromium-browser || have google-chrome || missing+=(chromium)
have chromedriver || missing+=(chromium-driver)
have initdb || [ -n "$(find /usr/lib/postgresql -name initdb 2>/dev/null)" ] || missing+=(postgresql)
{ have python3 && python3 -c 'import ensurepip, venv' 2>/dev/null; } || missing+=(python3 python3-venv)
have setpriv || missing+=(util-linux)
have openssl || missing+=(openssl)

if [ "${#missing[@]}" -gt 0 ]; then
    wanted="apt-get install ${missing[*]}"
    have apt-get || fail "missing here: ${missing[*]} (Debian's names); install them, as there is no apt-get"
    if [ "$(id -u)" = 0 ]; then sudo=(); elif have sudo; then sudo=(sudo); else fail "run as root: $wanted"; fi
    echo "bootstrap: $wanted"
    export DEBIAN_FRONTEND=noninteractive
    log=$(mktemp)
    "${sudo[@]}" apt-get update >"$log" 2>&1 || { tail -n 5 "$log" >&2; fail "apt-get update failed; mend that, then run: $wanted"; }
    "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "${missing[@]}" >"$log" 2>&1 \
        || { tail -n 5 "$log" >&2; fail "could not install packages; run as root: $wanted"; }
    rm -f "$log"
fi

if [ "${1:-}" = --tests ]; then
    cargo fmt --version >/dev/null 2>&1 && cargo clippy --version >/dev/null 2>&1 \
        || fail "rustfmt or clippy is missing; run: rustup component add rustfmt clippy"
    if ! cargo nextest --version >/dev/null 2>&1; then
        echo "bootstrap: installing cargo-nextest $nextest, once (some minutes)"
        cargo install cargo-nextest --locked --quiet --version "$nextest" \
            || fail "could not install cargo-nextest; see https://nexte.st/docs/installation"
    fi
fi
