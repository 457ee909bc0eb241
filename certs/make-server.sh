#!/usr/bin/env bash
# Makes a server certificate for the api listener, signed by a CA of one's own:
#   certs/make-server.sh CA_CERTIFICATE CA_KEY OUT_FOLDER NAME...
# Writes OUT_FOLDER/cert.pem (leaf first, then the CA) and OUT_FOLDER/key.pem, for `api.certificate_file` and `api.key_file`. NAMEs
# are host names or addresses. ECDSA P-256, 90 days; run it again before they are over: the controller takes the new files up by
# itself. With a public certificate (ACME), skip this and name the ACME client's files.
set -euo pipefail

fail() { echo "make-server.sh: $*" >&2; exit 1; }
[ $# -ge 4 ] || fail "usage: certs/make-server.sh CA_CERTIFICATE CA_KEY OUT_FOLDER NAME..."
ca=$1 ca_key=$2 out=$3
shift 3
command -v openssl >/dev/null || fail "openssl is missing (Debian: apt-get install openssl)"
[ -r "$ca" ] || fail "cannot read $ca"
[ -r "$ca_key" ] || fail "cannot read $ca_key"

names=
for name in "$@"; do
    [[ $name =~ ^(\*\.)?[A-Za-z0-9._-]+$ || $name =~ ^[0-9a-fA-F:.]+$ ]] || fail "$name is neither a host name nor an address"
    if [[ $name =~ ^[0-9.]+$ || $name == *:* ]]; then kind=IP; else kind=DNS; fi
    names=${names:+$names,}$kind:$name
done

umask 077
mkdir -p "$out"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$work/key.pem" 2>/dev/null
openssl req -new -key "$work/key.pem" -subj "/CN=$1" -out "$work/csr.pem"
cat > "$work/ext" <<EXT
basicConstraints=critical,CA:FALSE
keyUsage=critical,digitalSignature
extendedKeyUsage=serverAuth
subjectAltName=$names
subjectKeyIdentifier=hash
authorityKeyIdentifier=keyid
EXT
openssl x509 -req -in "$work/csr.pem" -CA "$ca" -CAkey "$ca_key" -CAcreateserial -CAserial "$work/serial" -sha256 -days 90 \
    -extfile "$work/ext" -out "$work/leaf.pem" 2>/dev/null || fail "$ca and $ca_key do not sign"
cat "$work/leaf.pem" "$ca" > "$work/cert.pem"
# The key first: for a moment the controller sees a pair that does not fit, keeps the last good one and looks again.
mv "$work/key.pem" "$out/key.pem"
chmod 644 "$work/cert.pem"
mv "$work/cert.pem" "$out/cert.pem"
echo "made in $out: set api.certificate_file and api.key_file, and check with certs/check.sh $(printf '%q %q' "$out/cert.pem" "$out/key.pem") NAME"
