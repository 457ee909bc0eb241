#!/usr/bin/env bash
# Type-checks the agent and the CLI for Windows (x86_64-pc-windows-gnu) on this machine. Nothing is linked and nothing is run.
# The standard library comes from rustup where it can be had, else it is checked from Debian's packaged sources.
set -euo pipefail
cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.."

target=x86_64-pc-windows-gnu
packages=(-p tradepost-agent -p tradepost-cli)
debian=(rustc-web rust-web-src gcc-mingw-w64-x86-64)

fail() { echo "check-windows: $*" >&2; exit 1; }
as_root() { if [ "$(id -u)" = 0 ]; then "$@"; elif command -v sudo >/dev/null; then sudo "$@"; else return 1; fi; }
install() {
    command -v apt-get >/dev/null || fail "install these by hand, as there is no apt-get: $*"
    echo "check-windows: installing $*" >&2
    as_root apt-get install -y --no-install-recommends "$@" >/dev/null || fail "cannot install $*; run as root: apt-get install $*"
}
have_std() { [ -d "$(rustc --print sysroot)/lib/rustlib/$target/lib" ]; }
have_sources() { [ -x /usr/bin/rustc ] && [ -e "$(/usr/bin/rustc --print sysroot)/lib/rustlib/src/rust/library/Cargo.lock" ]; }

# ring compiles C.
command -v x86_64-w64-mingw32-gcc >/dev/null || install gcc-mingw-w64-x86-64
# A target directory of its own, so that builds for this machine keep theirs.
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-target}/windows

if ! have_std && ! have_sources; then
    { command -v rustup >/dev/null && rustup target add "$target" >/dev/null 2>&1; } || install "${debian[@]}"
fi
if have_std; then
    cargo check --target "$target" "${packages[@]}" "$@"
elif have_sources; then
    # Debian's compiler carries the sources that match it; the usual one stays the compiler of everything else.
    RUSTC=/usr/bin/rustc RUSTC_BOOTSTRAP=1 \
        cargo check -Zbuild-std=std,panic_abort --target "$target" "${packages[@]}" "$@"
else
    fail "no standard library for $target; run: rustup target add $target"
fi
echo "check-windows: the agent and the CLI type-check for $target"
