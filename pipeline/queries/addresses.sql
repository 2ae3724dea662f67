-- The address of each image that a document wants, once, in the part that asks its host; whether the crawl has it.
WITH places AS (
    SELECT (wanted.host_key % $parts + $parts) % $parts AS part, wanted.url_key AS url_key, wanted.url AS url,
           CASE WHEN records.row IS NULL THEN 0 ELSE 1 END AS here
    FROM wanted
    LEFT JOIN records
    ON wanted.shard = records.shard AND wanted.row = records.row AND wanted.position = records.position
)
SELECT part AS shard, url_key, MIN(url) AS url, MAX(here) AS held
FROM places
GROUP BY part, url_key
ORDER BY shard, url_key
