#!/usr/bin/env bash
# Runs a test binary for tests/mutants.sh: what takes seconds (random worlds) only where nothing quicker has failed.
set -euo pipefail
binary=$1
slow=(rules:: retries::a_retry_keeps_every_rule drawn::the_right_rule log::a_state_may_show)
"$binary" "${slow[@]/#/--skip=}"
"$binary" "${slow[@]}"
