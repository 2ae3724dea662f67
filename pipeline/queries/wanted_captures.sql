-- The captures of robots.txt of those hosts that have an address here.
WITH wanted AS (
    SELECT DISTINCT origin_key, bucket FROM addresses
)
SELECT wanted.bucket % $buckets AS shard, captures.origin AS origin, captures.date AS date, captures.state AS state,
       captures.detail AS detail, captures.warc AS warc, captures.record_offset AS record_offset,
       captures.record_length AS record_length
FROM captures
JOIN wanted ON captures.origin_key = wanted.origin_key
ORDER BY shard, origin, date, warc, record_offset
