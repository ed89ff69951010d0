-- Detections a minute of the last hour, and how many cameras they are from. A minute without any has no row.
--
--     tidewater sql -f clients/examples/detections/counts_per_minute.sql
SELECT time_bucket('1 minute', timestamp_detected) AS minute, count(*) AS n, count(DISTINCT video_camera_oid) AS cameras
FROM detections
WHERE timestamp_detected > now() - INTERVAL '1 hour'
GROUP BY minute
ORDER BY minute;
