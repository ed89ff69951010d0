-- The five items that were seen most often at each of the ten busiest locations in the last five minutes.
--
--     tidewater sql -f clients/examples/detections/top_items.sql
WITH lately AS (
  SELECT geographical_location_oid AS location, item_name AS item, count(*) AS n
  FROM detections
  WHERE timestamp_detected > now() - INTERVAL '5 minutes'
  GROUP BY location, item
), busiest AS (
  SELECT location, sum(n) AS total FROM lately GROUP BY location ORDER BY total DESC, location LIMIT 10
)
SELECT b.location, b.total, l.item, l.n
FROM busiest b JOIN lately l ON l.location = b.location
QUALIFY row_number() OVER (PARTITION BY b.location ORDER BY l.n DESC, l.item) <= 5
ORDER BY b.total DESC, b.location, l.n DESC, l.item;
