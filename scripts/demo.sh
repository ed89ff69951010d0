#!/usr/bin/env bash
# What does Tidewater do? Starts a server, loads a real event stream twice, asks five questions, stops.
# Usage: scripts/demo.sh PATH_TO_TIDEWATER
set -euo pipefail
cd "$(dirname "$0")/.."
bin=$1
folder=$(mktemp -d)
grpc=127.0.0.1:18815
http=127.0.0.1:18080
export TIDEWATER_SERVER=$grpc

"$bin" serve --data "$folder" --grpc "$grpc" --http "$http" >"$folder/server.log" 2>&1 &
server=$!
stop() {
  kill "$server" 2>/dev/null && wait "$server" || true
  rm -rf "$folder"
}
trap stop EXIT
for _ in $(seq 100); do
  "$bin" health >/dev/null 2>&1 && break
  kill -0 "$server" 2>/dev/null || { cat "$folder/server.log" >&2; exit 1; }
  sleep 0.1
done
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
