#!/usr/bin/env bash
# A CSV with rows that stand there twice, de-duplicated by (movieId, title), counted, and exported as Parquet.
#
# From the root of the repository, beside `tidewater serve`:
#
#     bash clients/examples/movies/run.sh
set -euo pipefail

# The key makes the table; the last line counts: received = accepted + duplicate + rejected.
tidewater ingest movies clients/examples/movies/movies.csv --create --key movieId,title

echo 'By the ledger:'
tidewater sql -c "SELECT sum(received) AS received, sum(accepted) AS accepted, sum(duplicate) AS duplicate
                  FROM system.ledger l JOIN system.tables t ON t.id = l.table_id WHERE t.name = 'movies'"

# Names of a file keep their capitals, so they stand in quotes.
echo 'One number, several titles:'
tidewater sql -c 'SELECT "movieId", string_agg(title, '"'; '"' ORDER BY title) AS titles FROM movies GROUP BY "movieId" HAVING count(*) > 1 ORDER BY 1'

tidewater sql -c 'SELECT * FROM movies ORDER BY "movieId", title' -o movies.parquet
echo 'movies.parquet has the rows that are left'
