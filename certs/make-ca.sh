#!/usr/bin/env bash
# Makes a certificate authority for a controller with OpenSSL, in the files that the controller expects:
#   certs/make-ca.sh FOLDER [NAME]
# FOLDER becomes the identity folder (`--identity-dir`); NAME appears in the certificates (default: Tradepost). Do this before the
# controller's first start: agents and clients trust the root that they find then. ECDSA P-256, ten years.
set -euo pipefail

fail() { echo "make-ca.sh: $*" >&2; exit 1; }
[ $# -ge 1 ] && [ $# -le 2 ] || fail "usage: certs/make-ca.sh FOLDER [NAME]"
folder=$1
name=${2:-Tradepost}
command -v openssl >/dev/null || fail "openssl is missing (Debian: apt-get install openssl)"
[ ! -e "$folder/ca.pem" ] || fail "$folder has an authority already; a running one is replaced with \`controller trust begin\`"
case "$name" in */*|*=*) fail "the name may hold neither / nor =" ;; esac

umask 077
mkdir -p "$folder"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

key() { openssl genpkey -quiet -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$1" 2>/dev/null || openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$1"; }
extensions() { # how many CAs may follow below
    printf 'basicConstraints=critical,CA:TRUE,pathlen:%s\nkeyUsage=critical,keyCertSign,cRLSign\nsubjectKeyIdentifier=hash\n' "$1"
}

key "$work/ca.key"
openssl req -x509 -new -key "$work/ca.key" -sha256 -days 3650 -subj "/CN=$name root" -out "$work/ca.pem" \
    -addext "basicConstraints=critical,CA:TRUE,pathlen:1" -addext "keyUsage=critical,keyCertSign,cRLSign"

key "$work/agents-ca.key"
openssl req -new -key "$work/agents-ca.key" -subj "/CN=$name agents" -out "$work/agents-ca.csr"
{ extensions 0; echo "authorityKeyIdentifier=keyid"; } > "$work/agents.ext"
openssl x509 -req -in "$work/agents-ca.csr" -CA "$work/ca.pem" -CAkey "$work/ca.key" -CAcreateserial -sha256 -days 3650 \
    -extfile "$work/agents.ext" -out "$work/agents-ca.pem" 2>/dev/null

# ca.pem last: a folder without it has no authority.
for file in ca.key agents-ca.key agents-ca.pem ca.pem; do
    mv "$work/$file" "$folder/$file"
done
chmod 644 "$folder/ca.pem" "$folder/agents-ca.pem"
echo "made in $folder: start the controller with --identity-dir $(printf %q "$folder")"
