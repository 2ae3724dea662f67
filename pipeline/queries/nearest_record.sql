-- For each image that a document wants, the crawl's own record of that address that is nearest in time. A revisit stands for
-- the record with the same payload.
WITH originals AS (
    SELECT payload_key, warc, record_offset, record_length,
           ROW_NUMBER() OVER (PARTITION BY payload_key ORDER BY date, warc, record_offset) AS place
    FROM records
    WHERE record_length > 0
), revisits AS (
    SELECT records.url_key AS url_key, records.date AS date, originals.warc AS warc,
           originals.record_offset AS record_offset, originals.record_length AS record_length,
           records.payload_key AS payload_key, TRUE AS revisit
    FROM records
    JOIN originals ON records.payload_key = originals.payload_key
    WHERE records.record_length = 0 AND originals.place = 1
), held AS (
    SELECT url_key, date, warc, record_offset, record_length, payload_key, FALSE AS revisit
    FROM records
    WHERE record_length > 0
    UNION ALL
    SELECT url_key, date, warc, record_offset, record_length, payload_key, revisit
    FROM revisits
), ranked AS (
    SELECT wanted.shard AS shard, wanted.row AS row, wanted.position AS position,
           held.warc AS warc, held.record_offset AS record_offset, held.record_length AS record_length,
           held.payload_key AS payload_key, held.revisit AS revisit,
           ROW_NUMBER() OVER (
               PARTITION BY wanted.shard, wanted.row, wanted.position
               ORDER BY ABS(held.date - wanted.crawl_date), held.revisit, held.date DESC, held.warc, held.record_offset
           ) AS place
    FROM wanted
    JOIN held ON wanted.url_key = held.url_key
)
SELECT shard, row, position, warc, record_offset, record_length, payload_key, revisit
FROM ranked
WHERE place = 1
ORDER BY shard, row, position
