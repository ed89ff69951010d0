#!/usr/bin/env bash
# Rows in and out with nothing but curl: NDJSON under an Idempotency-Key, answers as JSON, CSV and an Arrow stream.
#
# Beside `tidewater serve`; the address is an argument:
#
#     bash clients/examples/http.sh http://127.0.0.1:8080
set -euo pipefail
server=${1:-http://127.0.0.1:8080}
ask() { curl --silent --show-error --fail-with-body "$server/api/v1/sql" -H 'Content-Type: application/sql' "$@"; }

ask -d 'CREATE TABLE IF NOT EXISTS readings (id BIGINT PRIMARY KEY, sensor VARCHAR NOT NULL, value DOUBLE)' >/dev/null

# Twice the same request, as after an answer that was lost: the second one stores nothing, and is answered as the first was.
for attempt in 1 2; do
  curl --silent --show-error --fail-with-body --retry 5 --retry-connrefused "$server/api/v1/ingest/readings" \
    -H 'Content-Type: application/x-ndjson' -H 'Idempotency-Key: readings-2026-01-31' --data-binary @- <<'ROWS'
{"id": 1, "sensor": "north", "value": 20.5}
{"id": 2, "sensor": "south", "value": 21.25}
{"id": 2, "sensor": "south", "value": 21.25}
{"id": 3, "sensor": "south", "value": "much"}
ROWS
done

echo 'JSON, with a parameter:'
curl --silent --show-error --fail-with-body "$server/api/v1/sql" -H 'Content-Type: application/json' \
  -d '{"sql": "SELECT sensor, count(*) AS n, max(value) AS highest FROM readings WHERE id >= $1 GROUP BY sensor ORDER BY sensor", "params": [1]}'
echo 'CSV:'
ask -H 'Accept: text/csv' -d 'SELECT id, sensor, value FROM readings ORDER BY id'
echo 'Arrow:'
ask -H 'Accept: application/vnd.apache.arrow.stream' -d 'SELECT id, sensor, value FROM readings ORDER BY id' -o readings.arrow
echo "readings.arrow has $(wc -c <readings.arrow) bytes"
