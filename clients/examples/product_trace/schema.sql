-- Products and what happened to each: keys of several columns.
--
--     tidewater sql -f clients/examples/product_trace/schema.sql

-- One row a product. Without a time column: it is a dimension.
CREATE TABLE IF NOT EXISTS products (
  product_code VARCHAR NOT NULL,
  model VARCHAR NOT NULL,
  lot VARCHAR NOT NULL,
  PRIMARY KEY (product_code)
);

-- One row for each attempt at each station. A station that sends a report again, or two gateways that both pass it on, store it once.
CREATE TABLE IF NOT EXISTS product_events (
  product_code VARCHAR NOT NULL,
  station VARCHAR NOT NULL,
  attempt INTEGER NOT NULL,
  happened_at TIMESTAMPTZ NOT NULL,
  result VARCHAR NOT NULL,
  torque_nm DECIMAL(10, 3),
  PRIMARY KEY (product_code, station, attempt)
) WITH (time_column = 'happened_at', sort_by = 'product_code, happened_at');
