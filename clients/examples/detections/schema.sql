-- The table of these queries, as `tidewater demo` makes it too.
--
--     tidewater sql -f clients/examples/detections/schema.sql
CREATE TABLE IF NOT EXISTS detections (
  geographical_location_oid BIGINT NOT NULL,
  video_camera_oid BIGINT NOT NULL,
  detection_oid BIGINT NOT NULL,
  item_name VARCHAR NOT NULL,
  timestamp_detected TIMESTAMP NOT NULL,
  PRIMARY KEY (detection_oid)
) WITH (time_column = 'timestamp_detected', sort_by = 'geographical_location_oid, timestamp_detected');
