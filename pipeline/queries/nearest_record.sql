-- For each image that a document wants, the crawl's own record of that address that is nearest in time.
WITH ranked AS (
    SELECT wanted.shard AS shard, wanted.row AS row, wanted.position AS position,
           records.warc AS warc, records.record_offset AS record_offset, records.record_length AS record_length,
           ROW_NUMBER() OVER (
               PARTITION BY wanted.shard, wanted.row, wanted.position
               ORDER BY ABS(records.date - wanted.crawl_date), records.date DESC, records.warc, records.record_offset
           ) AS place
    FROM wanted
    JOIN records ON wanted.url_key = records.url_key
)
SELECT shard, row, position, warc, record_offset, record_length
FROM ranked
WHERE place = 1
ORDER BY shard, row, position
