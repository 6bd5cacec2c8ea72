#!/bin/sh
# Verifies a checkpoint's signature with openssl and coreutils alone.
#
#   openssl-check.sh LOG VKEY-FILE
#
# A signed note (C2SP signed-note) is a text, an empty line and lines of `— name base64(key id, signature)`; a verifier
# key is `name+key id+base64(0x01, Ed25519 key)`.
set -eu

log=$1
vkey=$(cat "$2")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# A base64 key may hold a plus sign, a name may not.
name=${vkey%%+*}
rest=${vkey#*+}
id=${rest%%+*}
printf %s "${rest#*+}" | base64 -d >"$work/key"
[ "$(head -c 1 "$work/key" | od -An -tx1 | tr -d ' ')" = 01 ] || { echo "openssl-check: not an Ed25519 key" >&2; exit 1; }

# SubjectPublicKeyInfo of Ed25519 (RFC 8410) is these 12 bytes and the key.
{ printf '\060\052\060\005\006\003\053\145\160\003\041\000'; tail -c +2 "$work/key"; } >"$work/key.der"

# The signed text goes up to the last empty line, which is not part of it.
last=$(grep -n '^$' "$log/checkpoint" | tail -n 1 | cut -d : -f 1)
head -n "$((last - 1))" "$log/checkpoint" >"$work/text"
[ "$(head -n 1 "$work/text")" = "$name" ] || { echo "openssl-check: a checkpoint of another log" >&2; exit 1; }

tail -n "+$((last + 1))" "$log/checkpoint" | while read -r dash by signature; do
    [ "$dash" = — ] && [ "$by" = "$name" ] || continue
    printf %s "$signature" | base64 -d >"$work/signed" || continue
    [ "$(head -c 4 "$work/signed" | od -An -tx1 | tr -d ' ')" = "$id" ] || continue
    tail -c +5 "$work/signed" >"$work/signature"
    break
done
[ -s "$work/signature" ] || { echo "openssl-check: no signature by $name" >&2; exit 1; }

openssl pkeyutl -verify -rawin -pubin -keyform DER -inkey "$work/key.der" -in "$work/text" -sigfile "$work/signature"
