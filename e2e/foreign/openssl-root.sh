#!/bin/sh
# Computes a log's root from its entries with openssl and coreutils alone, and compares it with the checkpoint's.
#
#   openssl-root.sh LOG
#
# For small logs: each record takes two runs of openssl. A leaf's hash is SHA-256(0x00, entry), a node's is
# SHA-256(0x01, left, right), and a node without a right neighbour moves up as it is (RFC 6962, section 2.1).
set -eu

log=$1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
size=$(sed -n 2p "$log/checkpoint")
root=$(sed -n 3p "$log/checkpoint")

sha256() {
    openssl dgst -sha256 -binary
}

# An entry bundle (C2SP tlog-tiles) is its entries, each after its length in two bytes, big-endian.
leaves_of() {
    od -An -v -tu1 -w1 "$1" | awk '
        left == 0 && high == "" { high = $1; next }
        left == 0 { left = high * 256 + $1; print NR + 1, left; high = ""; next }
        { left-- }
    ' | while read -r start length; do
        { printf '\000'; tail -c "+$start" "$1" | head -c "$length"; } | sha256
    done
}

bundle=0
: >"$work/level"
while [ $((bundle * 256)) -lt "$size" ]; do
    [ "$bundle" -lt 1000 ] || { echo "openssl-root: a log this large is for other tools" >&2; exit 2; }
    path=$log/tile/entries/$(printf %03d "$bundle")
    [ $((size - bundle * 256)) -ge 256 ] || path=$path.p/$((size % 256))
    leaves_of "$path" >>"$work/level"
    bundle=$((bundle + 1))
done

count=$(($(wc -c <"$work/level") / 32))
[ "$count" = "$size" ] || { echo "openssl-root: $count entries, the checkpoint says $size" >&2; exit 1; }
while [ "$count" -gt 1 ]; do
    at=0
    while [ "$at" -lt "$count" ]; do
        tail -c "+$((at * 32 + 1))" "$work/level" | head -c 64 >"$work/pair"
        if [ "$(wc -c <"$work/pair")" = 64 ]; then { printf '\001'; cat "$work/pair"; } | sha256; else cat "$work/pair"; fi
        at=$((at + 2))
    done >"$work/above"
    mv "$work/above" "$work/level"
    count=$(($(wc -c <"$work/level") / 32))
done

[ "$(base64 <"$work/level")" = "$root" ] || { echo "openssl-root: the entries do not make the signed root" >&2; exit 1; }
echo "openssl-root: $size entries make the signed root"
