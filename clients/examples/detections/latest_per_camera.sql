-- What each camera saw last, and when. Of two at the same moment the one with the higher number.
--
--     tidewater sql -f clients/examples/detections/latest_per_camera.sql
SELECT DISTINCT ON (video_camera_oid) video_camera_oid, item_name, timestamp_detected
FROM detections
ORDER BY video_camera_oid, timestamp_detected DESC, detection_oid DESC;
