#!/usr/bin/env bash
# Measures the engine: enqueueing, whole lifecycles, latency, on SQLite and on a private PostgreSQL with fsync.
#   deploy/bench-queue.sh [all|ours|peers|restart|scale]      JOBS=3000 REPS=3 SECONDS_LOW=10
# With a folder of other queues' benchmarks (TRADEPOST_PEERS, or ../shared/bench/peers beside this checkout), `peers` runs its
# harness with our adapter and prints both results of the same run; without one it says so and goes on.
set -euo pipefail
cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.."

what=${1:-all}
jobs=${JOBS:-3000} reps=${REPS:-3} seconds=${SECONDS_LOW:-10} profile=${PROFILE:-measured}
case "$what" in all|ours|peers|restart|scale) ;; *) echo "usage: deploy/bench-queue.sh [all|ours|peers|restart|scale]" >&2; exit 2 ;; esac

cargo build --profile "$profile" --package tradepost-controller --package tradepost-bench
bench=$PWD/target/$profile/tradepost-bench
peers=${TRADEPOST_PEERS:-../shared/bench/peers}
durable() { deploy/postgres.sh start --durable; }
title() { printf '\n== %s (load %s)\n' "$1" "$(cut -d' ' -f1 /proc/loadavg)"; }

ours() {
    title "PostgreSQL, fsync on"
    "$bench" queue --database "$(durable)" --jobs "$jobs" --reps "$reps" --seconds "$seconds"
    title "SQLite, synchronous=FULL"
    "$bench" queue --database sqlite --jobs "$jobs" --reps "$reps" --seconds "$seconds"
}
side() { # server kind, peers
    OWN_ADAPTER="$bench adapter" OWN_SERVER=$1 OWN_STEPS="conc bulk" bash "$peers/run.sh" side "own $2" --reps "$reps" --quiet 30 \
        ${3:+--jobs "$3"} | deploy/bench-table.py "$1"
}
peers() {
    if [ ! -f "$peers/run.sh" ]; then
        echo "no folder of other queues' benchmarks at $peers; set TRADEPOST_PEERS to compare"
        return
    fi
    title "beside queues on PostgreSQL, by their harness"
    side pg "${PEERS_PG:-graphile-worker-tuned apalis-pg nats-js-sync celery}"
    title "beside a queue on SQLite, by their harness"
    side none "${PEERS_SQLITE:-apalis-sqlite}"
}
restart() {
    title "PostgreSQL killed in the middle"
    "$bench" restart --database "$(durable)"
}
scale() {
    title "cost per job in a large PostgreSQL database"
    "$bench" scale --database "$(durable)" ${SIZES:+--sizes "$SIZES"}
    title "cost per job in a large SQLite database"
    "$bench" scale --database sqlite ${SIZES:+--sizes "$SIZES"}
}
case "$what" in
    all) ours; peers; restart ;;
    *) "$what" ;;
esac
