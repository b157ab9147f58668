#!/usr/bin/env bash
# Records the histories beside this file anew, from a mesh of real processes: half a minute, and nothing is left behind but the files.
#
#   cargo build -p rr && verify/tests/mutators/recorded/record.sh target/debug/rr
#
# POLICY in ../recorded.rs is what the configuration below says.
set -euo pipefail

rr=$(realpath "$1")
here=$(dirname "$(realpath "$0")")
dir=$(mktemp -d)
cache=${XDG_CACHE_HOME:-$HOME/.cache}
mkdir -p "$dir"/{home,config/rr,state,work}
export HOME=$dir/home XDG_CONFIG_HOME=$dir/config XDG_STATE_HOME=$dir/state XDG_CACHE_HOME=$cache
export USER=ada WORK=$dir/work
unset "${!RR_@}"
cd "$WORK"

cat >"$XDG_CONFIG_HOME/rr/config.yaml" <<'END'
mesh: { partitions: 1, ack-wait: 2s, partition-ack-wait: 1s, pin-timeout: 1s }
coordinator: { presence-ttl: 3s, hesitation: 100ms, policy: { lease: 2s, offer-expiry: 3s, look-max: 3s } }
worker: { times: { presence-ttl: 3s, presence-renew: 1s, verify: 3s, lock-ttl: 6s } }
END

started=()
up=
finish() {
    # What was stopped must go on to hear that it is to end.
    for pid in "${started[@]}"; do kill -CONT "$pid" && kill -KILL "$pid"; done 2>/dev/null || true
    [ -z "$up" ] || kill -INT "$up" 2>/dev/null || true
    wait || true
    rm -rf "$dir"
}
trap finish EXIT

# Waits until a command succeeds.
until_it() { for _ in $(seq 600); do if "$@" >/dev/null 2>&1; then return; fi; sleep 0.1; done; echo "never: $*" >&2; tail "$dir"/*.log >&2; exit 1; }
# Whether what is stored of a run has a text at least so often.
has() { [ "$("$rr" export "$1" | grep -c -- "$2")" -ge "${3:-1}" ]; }
publish() { "$rr" publish "$1.yaml" --id "$1"; }
over() { until_it has "$1" '"run_ended"'; }
# Starts a worker: again and again where its hosts still count as those of another one, which is not missed yet.
worker() {
    until
        "$rr" worker --name "$@" 2>"$dir/$1.log" &
        started+=($!)
        until_it grep -Eq 'worker ready|^error' "$dir/$1.log"
        grep -q 'worker ready' "$dir/$1.log"
    do
        wait "${started[-1]}" || true
        unset 'started[-1]'
    done
}

"$rr" up --hosts 'a[1-9]' --queues default --capacity 8 >"$dir/up.log" 2>&1 &
up=$!
until_it grep -q 'mesh at' "$dir/up.log"

# Slots with a threshold and a window, retries, claims and a gate: two of four are enough.
cat >rollout.yaml <<'END'
name: rollout
slots:
  - - name: push
      hosts: 'a[1-4]'
      parallelism: 2
      success: 50%
      fail_fast: false
      retry: { attempts: 3, delay: 200ms, factor: 2, on: [9] }
      shell: 'case $RR_HOST$RR_ATTEMPT in a11|a2[12]|a3?) exit 9;; a4?) exit 1;; esac; sleep 0.4'
    - { name: migrate, run: [sleep, "0.4"], hosts: 'a[5-6]', on_lost: fail }
  - - { name: approve, signal: approved }
  - - { name: check, run: ["true"] }
END
publish rollout
until_it has rollout '"job":"migrate","status"'
"$rr" signal rollout approved
over rollout

# A worker sleeps for longer than anybody waits, is lost, and comes back with what it has done.
cat >lost.yaml <<'END'
name: lost
jobs:
  - name: work
    hosts: 'x[1-2]'
    shell: 'until [ -e $WORK/$RR_JOB$RR_ATTEMPT ]; do sleep 0.05; done'
    inherit_env: [WORK]
    retry: { attempts: 2, delay: 300ms }
  - name: once
    hosts: x3
    shell: 'until [ -e $WORK/$RR_JOB$RR_ATTEMPT ]; do sleep 0.05; done'
    inherit_env: [WORK]
    on_lost: fail
  - { name: after, run: ["true"], needs: [work] }
  - { name: never, run: ["true"], needs: [once] }
END
worker w2 --hosts 'x[1-3]' --capacity 8
publish lost
until_it has lost '"extended"'
kill -STOP "${started[0]}"
worker w3 --hosts 'x[1-3]' --capacity 8
until_it has lost '"attempt":2'
touch work1 once1
kill -CONT "${started[0]}"
until_it has lost '"late"'
touch work2
over lost
"$rr" retry lost --failed --id again
over again

# More than fits: a worker with one slot waits for hosts and for a queue, and gives back what it has got and cannot start.
cat >busy.yaml <<'END'
name: busy
jobs:
  - { name: here, hosts: 'y[1-2]', run: [sleep, "1.5"] }
  - { name: anywhere, queue: slow, run: [sleep, "1.5"] }
END
worker w4 --hosts 'y[1-2]' --queues slow --capacity 1
# Whether more comes than it can start is chance.
for n in $(seq 20); do
    busy=busy-$n
    "$rr" publish busy.yaml --id "$busy"
    over "$busy"
    if has "$busy" '"returned"'; then break; fi
done

# Nobody serves half of it, and half is enough.
cat >unserved.yaml <<'END'
name: unserved
jobs: [{ name: j, hosts: 'z1,a1', run: ["true"], success: 50%, fail_fast: false }, { name: k, run: ["true"], needs: [j] }]
END
publish unserved
over unserved

# A person stops it in the middle, when one job has enough.
cat >cancelled.yaml <<'END'
name: cancelled
jobs:
  - name: enough
    hosts: 'a[1-3]'
    parallelism: 2
    success: 25%
    shell: '[ $RR_HOST = a1 ] || exec sleep 60'
    grace: 200ms
  - { name: never, run: ["true"], needs: [enough] }
END
publish cancelled
until_it has cancelled '"started":{"task":1'
until_it has cancelled '"started":{"task":2'
"$rr" cancel cancelled
over cancelled

# Time stops another one, and the retry of what it had not begun.
cat >timed-out.yaml <<'END'
name: timed-out
timeout: 2s
jobs: [{ name: long, hosts: 'a[1-2]', parallelism: 1, run: [sleep, "60"], grace: 200ms }]
END
publish timed-out
over timed-out
"$rr" retry timed-out --not-started --id rest
over rest

for run in rollout lost again "$busy" unserved cancelled timed-out rest; do
    "$rr" verify "$run"
    "$rr" export "$run" >"$here/${run%-[0-9]*}.jsonl"
done
wc -c "$here"/*.jsonl
