#!/usr/bin/env bash
# A private PostgreSQL for tests and benchmarks of this checkout:
#   deploy/postgres.sh start [--durable]   starts it unless it runs, and prints its URL
#   deploy/postgres.sh stop  [--durable]   stops it and deletes its data
#   deploy/postgres.sh status [--durable]  succeeds when it runs
# With --home DIR (at most 80 letters) it is another server of its own in that directory, which nobody else uses: one to be killed.
# A start then goes on with the data that is there.
# It listens on a Unix socket in a directory that only its user (and root) can enter, on no port. It stops by itself when nobody has
# connected for ten minutes. --durable keeps fsync on, for measurements; without it a power cut would lose data.
set -euo pipefail

fail() { echo "postgres.sh: $*" >&2; exit 1; }

command=${1:-}
case "$command" in start|stop|status|watch) ;; *) fail "usage: deploy/postgres.sh start|stop|status [--durable] [--home DIR]" ;; esac
shift
options=("$@")
durable=
own=
while [ $# -gt 0 ]; do
    case "$1" in
        --durable) durable=--durable ;;
        --home) shift; own=${1:?"--home needs a directory"} ;;
        *) fail "unknown option $1; there are --durable and --home DIR" ;;
    esac
    shift
done

root=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd -P)
# Short, because the path of a Unix socket may have 107 bytes; and its own for each checkout and user.
checkout=$(printf '%s' "$root" | cksum | cut -d' ' -f1)
home=/tmp/tradepost-pg-$(id -u)-$checkout${durable:+-durable}
if [ -n "$own" ]; then home=$own; fi
data=$home/data
url="postgres://postgres@localhost/postgres?host=$home"
idle_minutes=10

# PostgreSQL refuses to run as root: there, Debian's own user does.
if [ "$(id -u)" = 0 ]; then
    id postgres >/dev/null 2>&1 || fail "the user postgres is missing; install PostgreSQL (Debian: apt-get install postgresql)"
    owner=postgres
    as() { (cd / && exec setpriv --reuid=postgres --regid=postgres --clear-groups -- env HOME=/tmp "$@"); }
else
    owner=$(id -un)
    as() { "$@"; }
fi

find_binaries() {
    bin=$(find /usr/lib/postgresql -mindepth 2 -maxdepth 2 -name bin 2>/dev/null | sort -V | tail -n 1)
    if [ -z "$bin" ] && command -v initdb >/dev/null; then bin=$(dirname "$(command -v initdb)"); fi
    [ -n "$bin" ] && [ -x "$bin/initdb" ] || fail "PostgreSQL is missing; run deploy/bootstrap.sh (Debian: apt-get install postgresql)"
}

running() { [ -d "$data" ] && as "$bin/pg_ctl" -D "$data" status >/dev/null 2>&1; }
query() { "$bin/psql" -XAtq -h "$home" -U postgres -d postgres -c "$1"; }

make_cluster() {
    rm -rf "$home"
    install -d -m 700 -o "$owner" "$home"
    as "$bin/initdb" -D "$data" -U postgres --auth=trust --encoding=UTF8 --locale=C --no-sync >"$home.log" 2>&1 \
        || { cat "$home.log" >&2; fail "initdb failed"; }
}

start() {
    if ! running; then
        # Not -p: a directory of that name that belongs to somebody else must stop us.
        if [ -e "$home" ] && [ "$(stat -c %U "$home")" != "$owner" ]; then fail "$home belongs to somebody else; remove it"; fi
        if [ -z "$own" ] || ! [ -e "$data/PG_VERSION" ]; then make_cluster; fi
        local safety="fsync=off synchronous_commit=off full_page_writes=off"
        if [ -n "$durable" ]; then safety="fsync=on"; fi
        local flags="-c listen_addresses= -c unix_socket_directories=$home -c max_connections=300 -c shared_buffers=128MB"
        for setting in $safety; do flags="$flags -c $setting"; done
        as "$bin/pg_ctl" -D "$data" -w -t 60 -l "$data/server.log" -o "$flags" start >"$home.log" 2>&1 9>&- \
            || { cat "$home.log" "$data/server.log" >&2; fail "the server did not start"; }
        rm -f "$home.log"
        setsid "$root/deploy/postgres.sh" watch "${options[@]}" </dev/null >/dev/null 2>&1 9>&- &
    fi
    echo "$url"
}

stop() {
    if running; then as "$bin/pg_ctl" -D "$data" -m immediate -w stop >/dev/null; fi
    rm -rf "$home"
    if [ -n "$own" ]; then rm -f "$home.lock"; fi
}

# Stops the server once it has been idle long enough; ends when somebody else has stopped it.
watch() {
    local idle=0 before=0 sessions others
    while sleep 60; do
        # Every test opens a session of this database to make its own; the two of a minute are these looks.
        sessions=$(query "select sessions from pg_stat_database where datname = 'postgres'" 2>/dev/null) || exit 0
        others=$(query "select count(*) from pg_stat_activity where backend_type = 'client backend' and pid <> pg_backend_pid()") || exit 0
        if [ "$others" = 0 ] && [ "$sessions" -le $((before + 2)) ]; then idle=$((idle + 1)); else idle=0; fi
        before=$sessions
        if [ "$idle" -ge "$idle_minutes" ]; then "$root/deploy/postgres.sh" stop "${options[@]}"; exit 0; fi
    done
}

find_binaries
case "$command" in
    watch) watch; exit ;;
    status) running; exit ;;
esac
# One at a time: test processes start together.
if [ -n "$own" ]; then
    lock=$home.lock
else
    mkdir -p "$root/target"
    lock=$root/target/.postgres.lock
fi
exec 9>"$lock"
flock 9
"$command"
