#!/usr/bin/env bash
# `make security`: two scanners that nobody here wrote, testssl.sh (Debian) and sslyze (PyPI), look at both listeners of a controller
# that this starts. Fails on any finding above "info" that deploy/security-allowed.txt does not give a reason for. Everything lies in
# target/security; nothing else listens than the controller, on loopback.
set -euo pipefail
cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.."

fail() { echo "security: $*" >&2; exit 1; }
have() { command -v "$1" >/dev/null 2>&1; }
sslyze_version=6.3.1
home=$PWD/target/security
mkdir -p "$home"

if ! have testssl && ! have testssl.sh; then
    wanted="apt-get install --no-install-recommends testssl.sh"
    have apt-get || fail "testssl.sh is missing (https://testssl.sh)"
    [ "$(id -u)" = 0 ] || fail "testssl.sh is missing; run as root: $wanted"
    echo "security: $wanted"
    apt-get update >/dev/null && DEBIAN_FRONTEND=noninteractive $wanted -y >/dev/null || fail "could not install it; run as root: $wanted"
fi
testssl=$(command -v testssl || command -v testssl.sh)
if [ ! -x "$home/venv/bin/sslyze" ]; then
    echo "security: installing sslyze $sslyze_version into target/security/venv"
    python3 -m venv "$home/venv"
    "$home/venv/bin/pip" install --quiet "sslyze==$sslyze_version" || fail "could not install sslyze"
fi

cargo build --quiet --workspace --bins
rm -rf "$home/data" "$home"/*.json "$home"/*.log
target/debug/controller --data-dir "$home/data" --api-listen 127.0.0.1:0 --agents-listen 127.0.0.1:0 --metrics-listen '' \
    > "$home/controller.log" 2>&1 &
controller=$!
trap 'kill "$controller" 2>/dev/null || true; wait "$controller" 2>/dev/null || true' EXIT
deadline=$((SECONDS + 30))
until grep -q '^controller ready' "$home/controller.log"; do
    kill -0 "$controller" 2>/dev/null || { tail -n 20 "$home/controller.log" >&2; fail "the controller ended"; }
    [ "$SECONDS" -lt "$deadline" ] || fail "the controller is not ready after 30 s; see $home/controller.log"
    read -rt 0.1 <> <(:) || true
done
api=$(grep -oE 'api=https://[0-9.:]+' "$home/controller.log" | head -n 1 | cut -d/ -f3)
agents=$(grep -oE 'agents=[0-9.:]+' "$home/controller.log" | head -n 1 | cut -d= -f2)

for side in api agents; do
    address=${!side}
    echo "security: testssl.sh looks at the $side listener ($address)"
    "$testssl" --quiet --color 0 --warnings off --connect-timeout 10 --openssl-timeout 10 --add-ca "$home/data/identity/ca.pem" \
        --jsonfile "$home/testssl-$side.json" "$address" > "$home/testssl-$side.log" 2>&1 || true
    [ -s "$home/testssl-$side.json" ] || { tail -n 20 "$home/testssl-$side.log" >&2; fail "testssl.sh gave no result"; }
    echo "security: sslyze looks at the $side listener"
    "$home/venv/bin/sslyze" --quiet --json_out "$home/sslyze-$side.json" "$address" > "$home/sslyze-$side.log" 2>&1 || true
    [ -s "$home/sslyze-$side.json" ] || { tail -n 20 "$home/sslyze-$side.log" >&2; fail "sslyze gave no result"; }
done
python3 deploy/security-report.py "$home" deploy/security-allowed.txt
