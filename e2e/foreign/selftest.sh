#!/bin/sh
# Shows that the foreign verifiers accept sound logs and refuse damaged ones.
#
#   selftest.sh WRITE_LOG [WORK-FOLDER]
#
# WRITE_LOG is the built example of crates/ledger: `cargo build -p ledger --example write_log`. Needs Debian's golang-go,
# golang-golang-x-mod-dev and openssl. Exits with 0 if everything is as expected, else names the first surprise.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
write_log=$1
work=${2:-$(mktemp -d)}
mkdir -p "$work"
work=$(cd "$work" && pwd)
[ $# -gt 1 ] || trap 'rm -rf "$work"' EXIT
tlogcheck=$work/tlogcheck
(cd "$here/tlogcheck" && GOPATH=/usr/share/gocode GO111MODULE=off go build -o "$tlogcheck" main.go)

surprise() {
    echo "selftest: $*" >&2
    exit 1
}

by_go() {
    log=$1
    shift
    "$tlogcheck" -log "$log" -vkey "$work/sound/log.vkey" "$@" >"$work/out" 2>&1
}

by_openssl() {
    "$here/openssl-check.sh" "$1" "$work/sound/log.vkey" >"$work/out" 2>&1
}

accepts() {
    what=$1
    shift
    "$@" || surprise "$what: refused: $(cat "$work/out")"
    echo "accepted: $what"
}

# The refusal has to name the place, so that a verifier that fails for another reason does not count.
refuses() {
    what=$1 named=$2
    shift 2
    if "$@"; then surprise "$what: accepted"; fi
    grep -q -e "$named" "$work/out" || surprise "$what: refused for another reason: $(cat "$work/out")"
    echo "refused: $what ($(tail -n 1 "$work/out"))"
}

# Changes the byte at an offset of a copy of the log.
flipped() {
    rm -rf "$work/damaged"
    cp -r "$work/sound" "$work/damaged"
    file=$work/damaged/$1
    byte=$(od -An -tu1 -j "$2" -N 1 "$file" | tr -d ' ')
    [ -n "$byte" ] || surprise "$1 has no byte $2"
    printf "\\$(printf %03o $((byte ^ 1)))" | dd of="$file" bs=1 seek="$2" conv=notrunc 2>/dev/null
    cmp -s "$file" "$work/sound/$1" && surprise "$1 was not changed"
    return 0
}

for size in 0 1 255 256 257 65536 70000; do
    rm -rf "$work/sound"
    "$write_log" "$work/sound" "$size" --checkpoint-at $((size / 3))
    accepts "$size records, Go" by_go "$work/sound"
    grep -q "\"entries\":$size,.*\"size\":$size}" "$work/out" || surprise "$size records: $(cat "$work/out")"
    accepts "$size records, openssl" by_openssl "$work/sound"
    accepts "$size records grown from $((size / 3)), Go" by_go "$work/sound" -old "$work/sound/checkpoint.$((size / 3))"
done

# The log of 70,000 records from here on.
refuses "a head of another history" "inconsistent" by_go "$work/sound" -old "$work/sound/checkpoint.forked"
"$write_log" "$work/fork" 70000 --checkpoint-at 70000
refuses "a fork of the same size" "inconsistent" by_go "$work/sound" -old "$work/fork/checkpoint.forked"
"$write_log" "$work/longer" 70001
refuses "a log that was cut short" "70001 records, the log has 70000" by_go "$work/sound" -old "$work/longer/checkpoint"
"$write_log" "$work/other" 70000 --origin example.org/other
refuses "a log of another name" "checkpoint:" by_go "$work/other"
refuses "a log of another name, openssl" "another log" by_openssl "$work/other"

# Byte 100 of bundle 201 lies in its first entry, the last byte of bundle 273.p/112 in the last one.
flipped tile/entries/201 100
refuses "an entry" "record 51456: .*tile/0/201" by_go "$work/damaged"
flipped tile/entries/273.p/112 $(($(wc -c <"$work/sound/tile/entries/273.p/112") - 1))
refuses "the last entry" "record 69999: .*tile/0/273.p/112" by_go "$work/damaged"
flipped tile/entries/007 0
refuses "an entry's length" "tile/entries/007" by_go "$work/damaged"
for tile in 0/007 0/273.p/112 1/000 1/001.p/17 2/000.p/1; do
    flipped "tile/$tile" 31
    refuses "a hash in tile/$tile" "tile/$tile" by_go "$work/damaged"
done
flipped tile/0/011.p/184 64
refuses "a partial tile left behind" "tile/0/011.p/184:" by_go "$work/damaged"

rm -rf "$work/damaged"
cp -r "$work/sound" "$work/damaged"
rm "$work/damaged/tile/entries/100"
refuses "a bundle that is gone" "tile/entries/100" by_go "$work/damaged"

cp "$work/sound/checkpoint" "$work/longer/checkpoint"
accepts "a log beyond its checkpoint" by_go "$work/longer"
cp "$work/sound/checkpoint" "$work/other/checkpoint"
refuses "sound tiles of another history" "inconsistent tile" by_go "$work/other"

# In turn the origin, the size, the root, the signature's last digits.
end=$(($(wc -c <"$work/sound/checkpoint") - 8))
for at in 0 21 40 "$end"; do
    flipped checkpoint "$at"
    refuses "byte $at of the checkpoint" "checkpoint:" by_go "$work/damaged"
    refuses "byte $at of the checkpoint, openssl" "." by_openssl "$work/damaged"
done

echo "selftest: all as expected"
