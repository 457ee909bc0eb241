#!/usr/bin/env bash
# The main job on this machine: a controller, an enrolled agent and a real Chrome post two listings to two sites.
#
#   make demo            runs it and stops everything
#   make demo KEEP=1     leaves everything running and prints how to go on
#   make demo VISIBLE=1  shows Chrome's windows (needs a display)
#   make demo STOP=1     ends what KEEP=1 left running
#
# Everything lies below .data/demo, which each run makes anew; nothing outside is touched.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$root"
demo=$root/.data/demo
bin=$root/target/debug
logs=$demo/logs
pids=$demo/pids

say() { printf '\n\033[1m%s\033[0m\n' "$*"; }
[ -t 1 ] || say() { printf '\n%s\n' "$*"; }
fail() { printf 'error: %s\n' "$*" >&2; exit 1; }
shown() { printf '  $ %s\n' "$*"; }

# Ends what an earlier run left, and only that: a pid counts only while it still runs one of our programs below this folder.
stop_all() {
    [ -f "$pids" ] || return 0
    local pid
    while read -r pid; do
        if tr '\0' ' ' < "/proc/$pid/cmdline" 2>/dev/null | grep -qF "$root"; then
            kill "$pid" 2>/dev/null || true
        fi
    done < <(tac "$pids")
    while read -r pid; do
        timeout 15 tail --pid="$pid" -f /dev/null 2>/dev/null || kill -9 "$pid" 2>/dev/null || true
    done < "$pids"
    rm -f "$pids"
}

# start NAME PATTERN COMMAND...: runs it in the background and waits until its output has a line that matches PATTERN.
start() {
    local name=$1 pattern=$2 log=$logs/$1.log deadline=$((SECONDS + 90)) pid
    shift 2
    : > "$log"
    "$@" >> "$log" 2>&1 &
    pid=$!
    echo "$pid" >> "$pids"
    until grep -qE "$pattern" "$log"; do
        kill -0 "$pid" 2>/dev/null || { tail -n 20 "$log" >&2; fail "$name ended while starting; its log is $log"; }
        [ "$SECONDS" -lt "$deadline" ] || { tail -n 20 "$log" >&2; fail "$name was not ready after 90 s; its log is $log"; }
        read -rt 0.1 <> <(:) || true
    done
}

# first NAME PATTERN: the first match of PATTERN in the log of NAME.
first() { grep -oE "$2" "$logs/$1.log" | head -n 1; }

tradepost() { "$bin/tradepost" "$@"; }
field() { python3 -c 'import json,sys; v=json.load(sys.stdin)
for k in sys.argv[1].split("."): v=v[int(k)] if k.isdigit() else v[k]
print(v)' "$1"; }

if [ -n "${STOP:-}" ]; then
    stop_all
    echo "The demo is stopped."
    exit 0
fi

bash deploy/bootstrap.sh
say "Building (a first build takes some minutes)"
cargo build --workspace --bins

stop_all
rm -rf "$demo"
mkdir -p "$logs" "$demo/screenshots"
[ -n "${KEEP:-}" ] || trap stop_all EXIT
trap 'exit 130' INT TERM

# The command line keeps the demo's context and token below the demo's folder, so that yours are left alone.
export XDG_CONFIG_HOME=$demo/cli TRADEPOST_KEYRING=off

say "1. Two sites to post to"
start classified 'on http://127' bash sites/classified/run.sh --data "$demo/classified" --port 0
start sandbox 'on http://127' "$bin/sandbox" --data "$demo/sandbox" --port 0
classified=$(first classified 'http://127[0-9.:]+/')
sandbox=$(first sandbox 'http://127[0-9.:]+/')
echo "  a classifieds site that nobody here wrote: $classified"
echo "  the practice marketplace:                  $sandbox"

say "2. A controller with its embedded database"
shown "controller --database sqlite:… --data-dir …"
start controller 'controller ready' "$bin/controller" --database "sqlite:$demo/controller/tradepost.db" \
    --data-dir "$demo/controller" --api-listen 127.0.0.1:0 --agents-listen 127.0.0.1:0 --metrics-listen 127.0.0.1:0
api=$(first controller 'https://127[0-9.:]+')
echo "  serving on $api"
shown "controller admin create --email you@example.com | tradepost login --server $api --ca-file … --token-stdin"
"$bin/controller" admin create --email you@example.com --database "sqlite:$demo/controller/tradepost.db" \
    --data-dir "$demo/controller" 2>> "$logs/admin.log" |
    tradepost login --server "$api" --ca-file "$demo/controller/identity/ca.pem" --token-stdin

say "3. An agent on this machine"
shown "tradepost-agent enrol \"\$(tradepost agents enrol-token create)\""
string=$(tradepost agents enrol-token create 2>> "$logs/enrol.log")
"$bin/tradepost-agent" --data-dir "$demo/agent" enrol "$string" --name "this PC"
head=--headless
[ -z "${VISIBLE:-}" ] || head=
shown "tradepost-agent run $head"
start agent 'connected to the controller' "$bin/tradepost-agent" --data-dir "$demo/agent" run $head
agent=$(tradepost agents list -o json | field 0.id)
tradepost agents list

say "4. A marketplace account on each site"
# On a real marketplace you sign in by hand, in the agent's Chrome. These two sites take a credential kept on this PC.
add_account() { # SITE CURRENCY SELLER
    local user=seller$3@example.com id
    shown "tradepost accounts add \"my $1\" --site $1 --site-url ${!1} --currency $2 --agent $agent"
    id=$(tradepost accounts add "my $1" --site "$1" --site-url "${!1}" --currency "$2" \
        --sign-in-name "$user" --agent "$agent" -o json | field id)
    printf 'correct horse %s' "$3" | "$bin/tradepost-agent" --data-dir "$demo/agent" credentials set \
        --account "$id" --username "$user"
}
add_account sandbox EUR 4
add_account classified USD 1
tradepost accounts list

say "5. Two things to sell"
shown "tradepost listings create --file examples/listings.yaml"
tradepost listings create --file examples/listings.yaml -o json > "$demo/listings.json"
tradepost listings list

say "6. Posting them"
n=0
for site in sandbox classified; do
    listing=$(field "$n.id" < "$demo/listings.json")
    shown "tradepost postings create --listing $listing --account \"my $site\" --watch"
    # The receipt, which watching ends with, is shown below.
    tradepost postings create --listing "$listing" --account "my $site" --watch > /dev/null
    n=$((n + 1))
done

say "7. The receipts"
for posting in $(tradepost postings list -o json | python3 -c 'import json,sys
for p in reversed(json.load(sys.stdin)): print(p["id"])'); do
    tradepost postings receipt "$posting"
    job=$(tradepost postings show "$posting" -o json | field jobId)
    tradepost -q jobs evidence "$job" --save "$demo/screenshots/$posting" > /dev/null
    echo
done
echo "New listings:"
tradepost postings list -o json | python3 -c 'import json,sys
for p in reversed(json.load(sys.stdin)): print("  " + p["item"]["url"])'
echo "Screenshots and page snapshots: $demo/screenshots"

if [ -n "${KEEP:-}" ]; then
    cat <<END

Everything is still running. To go on:

  export XDG_CONFIG_HOME=$demo/cli PATH=$bin:\$PATH
  tradepost --help
  tradepost listings create --title "Desk lamp" --price "15 EUR" --category "Home > Furniture" \\
      --condition good --location Berlin --photos examples/bookshelf
  tradepost postings create --listing ID --account "my sandbox" --watch

  practice marketplace  $sandbox   (seller4@example.com, password: correct horse 4)
  classifieds site      $classified   (seller1@example.com, password: correct horse 1)
  controller            $api   logs: $logs

  make demo STOP=1      ends it
END
fi
