-- The address of each image that a document wants, once, in the part that asks its host; whether the crawl has it.
SELECT (wanted.host_key % $parts + $parts) % $parts AS shard, wanted.url_key AS url_key,
       MIN(wanted.url) AS url, MAX(CASE WHEN records.shard IS NULL THEN 0 ELSE 1 END) AS held
FROM wanted
LEFT JOIN records
ON wanted.shard = records.shard AND wanted.row = records.row AND wanted.position = records.position
GROUP BY wanted.host_key, wanted.url_key
ORDER BY shard, url_key
