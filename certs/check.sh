#!/usr/bin/env bash
# Says whether a certificate and its key can serve the api listener:
#   certs/check.sh CERTIFICATE KEY [NAME]
# Checks that they belong together, that the certificate is valid now and for two more weeks, that it is for servers, and that it holds
# NAME. Prints what is wrong and fails, or prints one line.
set -euo pipefail

wrong=0
bad() { echo "check.sh: $*" >&2; wrong=1; }
[ $# -ge 2 ] && [ $# -le 3 ] || { echo "usage: certs/check.sh CERTIFICATE KEY [NAME]" >&2; exit 2; }
certificate=$1 key=$2 name=${3:-}
command -v openssl >/dev/null || { echo "check.sh: openssl is missing (Debian: apt-get install openssl)" >&2; exit 2; }

openssl x509 -in "$certificate" -noout 2>/dev/null || { bad "$certificate holds no certificate in PEM"; exit 1; }
[ -r "$key" ] || { bad "cannot read $key"; exit 1; }
if grep -q ENCRYPTED "$key"; then
    bad "$key has a passphrase; the controller wants it without one, readable by its owner only"
elif ! openssl pkey -in "$key" -noout -passin pass: 2>/dev/null; then
    bad "$key holds no private key in PEM"
fi
if [ "$wrong" = 0 ]; then
    of_certificate=$(openssl x509 -in "$certificate" -noout -pubkey)
    of_key=$(openssl pkey -in "$key" -pubout -passin pass:)
    [ "$of_certificate" = "$of_key" ] || bad "$key is not the key of the first certificate in $certificate (leaf first?)"
fi
openssl x509 -in "$certificate" -noout -checkend 0 >/dev/null || bad "the certificate has ended"
openssl x509 -in "$certificate" -noout -checkend 1209600 >/dev/null || bad "the certificate ends within two weeks"
purposes=$(openssl x509 -in "$certificate" -noout -ext extendedKeyUsage 2>/dev/null || true)
[ -z "$purposes" ] || grep -q "TLS Web Server" <<<"$purposes" || bad "the certificate is not for servers"
if [ -n "$name" ]; then
    if [[ $name =~ ^[0-9.]+$ || $name == *:* ]]; then look=-checkip; else look=-checkhost; fi
    openssl x509 -in "$certificate" -noout "$look" "$name" | grep -q "does match" || bad "the certificate is not for $name"
fi
if [ -n "$(find "$key" -perm /077 2>/dev/null)" ]; then bad "others may read $key; run: chmod 600 $key"; fi
[ "$wrong" = 0 ] || exit 1
echo "good until $(openssl x509 -in "$certificate" -noout -enddate | cut -d= -f2)"
