-- Which different items there were at each location in the last hour: exact, and by an approximation that says so in its name.
--
--     tidewater sql -f clients/examples/detections/distinct_items.sql
SELECT geographical_location_oid, count(DISTINCT item_name) AS items, approx_distinct(item_name) AS about
FROM detections
WHERE timestamp_detected > now() - INTERVAL '1 hour'
GROUP BY geographical_location_oid
ORDER BY items DESC, geographical_location_oid
LIMIT 20;
