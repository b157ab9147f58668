#!/usr/bin/env bash
# Breaks the core and the judge line by line and asks whether a test notices: cargo-mutants, a share at a time.
#
#   tests/mutants.sh K/N [MINUTES]   one share of N, from 0; ends after MINUTES (default 60) at the latest
#
# A share that was ended goes on where it was when it is called again: what was caught is remembered in target/mutants.
# What survives is listed in the end, and belongs into docs/mutants.md: killed by a test, or explained.
# Needs `cargo install cargo-mutants`. It works on a copy, which is built from nothing each time; with IN_PLACE=1 it changes the
# files of this very checkout one at a time and puts them back: for a checkout where nobody works, and much quicker.
set -euo pipefail
cd "$(dirname "$0")/.."

share=${1:?which share, for example 0/30}
minutes=${2:-60}
out="target/mutants/${share/\//-of-}"
mkdir -p "$out"

place=()
if [ "${IN_PLACE:-}" = 1 ]; then place=(--in-place); fi

# What each crate's own tests do not notice is not noticed: a mutant costs a build and the tests of one crate.
code=0
for crate in rr-core rr-verify; do
  left=$((minutes * 60 - SECONDS))
  [ "$left" -gt 0 ] || { code=124; break; }
  mkdir -p "$out/$crate"
  timeout --signal=INT "${left}s" nice cargo mutants --package "$crate" --test-package "$crate" \
    --sharding round-robin --shard "$share" --iterate --output "$out/$crate" \
    "${place[@]}" --timeout 120 --no-times --colors never || code=$?
done

echo "survivors of share $share:"
cat "$out"/*/mutants.out/missed.txt "$out"/*/mutants.out/timeout.txt
# 2: some survive; 3: some do not end; 124: the time is over. All of them are results.
case $code in 0 | 2 | 3 | 124) ;; *) exit "$code" ;; esac
