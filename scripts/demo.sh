#!/usr/bin/env bash
# What does Tidewater do? Starts a server, loads a real event stream twice, asks five questions, stops.
# Usage: scripts/demo.sh PATH_TO_TIDEWATER
set -euo pipefail
cd "$(dirname "$0")/.."
bin=$1
folder=$(mktemp -d)

: >"$folder/server.out"
# Free ports, told in the line "ready grpc=ADDRESS http=ADDRESS": fixed ones may lead to somebody else's server.
"$bin" serve --data "$folder/data" --grpc 127.0.0.1:0 --http 127.0.0.1:0 >"$folder/server.out" 2>"$folder/server.log" &
server=$!
stop() {
  kill "$server" 2>/dev/null || true
  wait "$server" || true
  rm -rf "$folder"
}
trap stop EXIT

address=
for _ in $(seq 600); do
  address=$(sed -n 's/^ready grpc=\(.*\) http=.*/\1/p' "$folder/server.out")
  if [ -n "$address" ] || ! kill -0 "$server" 2>/dev/null; then break; fi
  sleep 0.1
done
if [ -z "$address" ]; then
  echo "demo.sh: the server did not become ready; its log:" >&2
  cat "$folder/server.log" >&2
  exit 1
fi
export TIDEWATER_SERVER=$address
"$bin" health

run() {
  echo
  echo "> $1"
  "$bin" sql --format table -c "$1"
}

echo
echo "== Loading server/fixtures/git_events_sample.parquet, and once more: a retry changes nothing"
load=("$bin" ingest git_events server/fixtures/git_events_sample.parquet --create --key event_id --time authored_at --sort repo,authored_at)
"${load[@]}"
"${load[@]}"

run "SELECT count(*) AS events, count(DISTINCT author) AS authors, min(authored_at) AS first, max(authored_at) AS last FROM git_events"
run "SELECT repo, count(*) AS events FROM git_events GROUP BY repo ORDER BY events DESC, repo"
run "SELECT repo, path, changes FROM (
       SELECT repo, path, count(*) AS changes, row_number() OVER (PARTITION BY repo ORDER BY count(*) DESC, path) AS place
       FROM git_events GROUP BY repo, path) WHERE place <= 2 ORDER BY repo, place"
run "SELECT date_trunc('month', authored_at, 'Europe/Berlin') AS month, count(*) AS events
     FROM git_events GROUP BY month ORDER BY month DESC LIMIT 5"
run "SELECT producer, sum(received) AS received, sum(accepted) AS accepted, sum(duplicate) AS duplicate, sum(repeated) AS repeated, sum(rejected) AS rejected
     FROM system.ledger GROUP BY producer"
