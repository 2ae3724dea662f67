-- Of the documents with the same set of image addresses the latest stays.
WITH ranked AS (
    SELECT shard, row, set_key,
           ROW_NUMBER() OVER (PARTITION BY set_key ORDER BY crawl_date DESC, shard DESC, row DESC) AS place
    FROM sets
)
SELECT loser.shard AS shard, loser.row AS row, winner.shard AS twin_shard, winner.row AS twin_row
FROM ranked AS loser
JOIN ranked AS winner ON loser.set_key = winner.set_key
WHERE loser.place > 1 AND winner.place = 1
ORDER BY shard, row
