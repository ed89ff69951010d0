-- The history of one product, by its code: a look-up by the first column of a key that rows are sorted by.
--
--     tidewater sql -f clients/examples/product_trace/history.sql
SELECT e.happened_at, e.station, e.attempt, e.result, e.torque_nm,
       e.happened_at - lag(e.happened_at) OVER (ORDER BY e.happened_at) AS since_last
FROM product_events e
WHERE e.product_code = 'P000042'
ORDER BY e.happened_at;
