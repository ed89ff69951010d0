-- What became of every row that was sent, by producer: duplicates were dropped when they came, and are counted here.
--
--     tidewater sql -f clients/examples/detections/duplicates.sql
SELECT l.producer, sum(received) AS received, sum(accepted) AS accepted, sum(duplicate) AS duplicate, sum(repeated) AS repeated,
       sum(rejected) AS rejected
FROM system.ledger l JOIN system.tables t ON t.id = l.table_id
WHERE t.name = 'detections'
GROUP BY l.producer
ORDER BY l.producer;
