#!/usr/bin/env bash
# Breaks the core and the judge line by line and asks whether a test notices: cargo-mutants, a share at a time.
#
#   tests/mutants.sh K/N [MINUTES]   one share of N, from 0; ends after MINUTES (default 60) at the latest
#
# A share that was ended goes on where it was when it is called again: what was caught is remembered in target/mutants.
# What survives is listed in the end, and belongs into docs/mutants.md: killed by a test, or explained.
# Needs `cargo install cargo-mutants`.
set -euo pipefail
cd "$(dirname "$0")/.."

share=${1:?which share, for example 0/30}
minutes=${2:-60}
out="target/mutants/${share/\//-of-}"
mkdir -p "$out"

# One job, gently: a mutant costs a build and all tests of both crates.
code=0
CARGO_BUILD_JOBS=${CARGO_BUILD_JOBS:-1} timeout --signal=INT "${minutes}m" nice cargo mutants \
  --package rr-core --package rr-verify --test-package rr-core,rr-verify \
  --sharding round-robin --shard "$share" --iterate --output "$out" \
  --jobs 1 --timeout 240 --cap-lints true --no-times --colors never || code=$?

echo "survivors of share $share:"
cat "$out"/mutants.out/missed.txt "$out"/mutants.out/timeout.txt
# 2: some survive; 3: some do not end; 124: the time is over. All of them are results.
case $code in 0 | 2 | 3 | 124) ;; *) exit "$code" ;; esac
