-- Of the captures of one address the latest stays; among those of one date, the one that stands last in the crawl.
WITH ranked AS (
    SELECT shard, row, url_key,
           ROW_NUMBER() OVER (PARTITION BY url_key ORDER BY crawl_date DESC, shard DESC, row DESC) AS place
    FROM pages
)
SELECT loser.shard AS shard, loser.row AS row, winner.shard AS twin_shard, winner.row AS twin_row
FROM ranked AS loser
JOIN ranked AS winner ON loser.url_key = winner.url_key
WHERE loser.place > 1 AND winner.place = 1
ORDER BY shard, row
