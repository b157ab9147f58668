#!/usr/bin/env bash
# Breaks the core and the judge line by line and asks whether a test notices: cargo-mutants, a share at a time.
#
#   tests/mutants.sh K/N [MINUTES] [CRATE...]   one share of N, from 0; ends after MINUTES (default 60) at the latest
#
# Without crates: rr-core and rr-verify. It works on a copy, so that the checkout may be worked on meanwhile; what it builds is
# kept in target/mutants, a directory a crate, so that two crates may be looked at at once; with LANE=2 in another one, for two
# shares of one crate at once. With FILES='run/fold.rs records/*.rs' the share is one of these files only, named below src/.
# What a share has caught is remembered: called again, it is a share of what is left, so name few files where all is to be seen.
# Ten changes a minute on half a core.
# What survives is listed in the end, and belongs into docs/mutants.md: killed by a test, or explained.
# Needs `cargo install cargo-mutants`.
set -euo pipefail
cd "$(dirname "$0")/.."
here=$PWD

share=${1:?which share, for example 0/30}
minutes=${2:-60}
crates=("${@:3}")
[ "${#crates[@]}" -gt 0 ] || crates=(rr-core rr-verify)
out="target/mutants/${share/\//-of-}"

files=()
set -f # the patterns are for cargo-mutants
for file in ${FILES:-}; do files+=(--file "**/src/$file"); done
set +f

# What is built is run once: nobody reads its backtraces, and a property that fails need not be made small.
export CARGO_PROFILE_DEV_DEBUG=0 CARGO_PROFILE_TEST_DEBUG=0 PROPTEST_MAX_SHRINK_ITERS=0 RUST_BACKTRACE=0
host=$(rustc -vV | sed -n 's/^host: //p' | tr 'a-z-' 'A-Z_')
export "CARGO_TARGET_${host}_RUNNER=$here/tests/mutants/in-order.sh"

# The core has no tests beside its sources, so that they need no build; nobody has documentation that is run.
declare -A which=([rr-core]='--test=*' [rr-verify]=--tests)
# What each crate's own tests do not notice is not noticed: a mutant costs a build and the tests of one crate.
code=0
for crate in "${crates[@]}"; do
  left=$((minutes * 60 - SECONDS))
  [ "$left" -gt 0 ] || { code=124; break; }
  mkdir -p "$out/$crate"
  CARGO_TARGET_DIR="$here/target/mutants/build-$crate${LANE:-}" timeout --signal=INT "${left}s" \
    nice cargo mutants --package "$crate" --test-package "$crate" "--cargo-test-arg=${which[$crate]:---tests}" \
    --sharding round-robin --shard "$share" "${files[@]}" --iterate --output "$out/$crate" --timeout 45 --no-times --colors never || code=$?
done

echo "survivors of share $share:"
for crate in "${crates[@]}"; do cat "$out/$crate"/mutants.out/{missed,timeout}.txt; done
# 2: some survive; 3: some do not end; 124: the time is over. All of them are results.
case $code in 0 | 2 | 3 | 124) ;; *) exit "$code" ;; esac
