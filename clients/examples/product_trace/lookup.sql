-- One report, by its whole key, with the product that it is about: files that cannot have the key are not opened.
--
--     tidewater sql -f clients/examples/product_trace/lookup.sql
SELECT p.product_code, p.model, p.lot, e.result, e.happened_at
FROM product_events e JOIN products p ON p.product_code = e.product_code
WHERE e.product_code = 'P000042' AND e.station = 'test' AND e.attempt = 1;
