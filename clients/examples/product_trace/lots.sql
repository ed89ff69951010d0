-- First-pass yield of each lot: products that no station had to try twice.
--
--     tidewater sql -f clients/examples/product_trace/lots.sql
SELECT p.lot, count(*) AS products, count(*) FILTER (WHERE worst = 1) AS at_first, round(100.0 * count(*) FILTER (WHERE worst = 1) / count(*), 1) AS yield_percent
FROM (SELECT product_code, max(attempt) AS worst FROM product_events GROUP BY product_code) e
JOIN products p ON p.product_code = e.product_code
GROUP BY p.lot
ORDER BY p.lot;
