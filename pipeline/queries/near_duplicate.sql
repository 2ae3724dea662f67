-- Of each component of near-duplicates the latest capture stays; among those of one date, the one that stands last in
-- the crawl.
WITH members AS (
    SELECT child AS id, parent AS root FROM components
    UNION ALL
    SELECT DISTINCT parent AS id, parent AS root FROM components
),
ranked AS (
    SELECT pages.shard AS shard, pages.row AS row, members.root AS root,
           ROW_NUMBER() OVER (PARTITION BY members.root ORDER BY pages.crawl_date DESC, members.id DESC) AS place
    FROM members
    JOIN pages ON members.id = pages.shard * CAST(4294967296 AS BIGINT) + pages.row
)
SELECT loser.shard AS shard, loser.row AS row, winner.shard AS twin_shard, winner.row AS twin_row
FROM ranked AS loser
JOIN ranked AS winner ON loser.root = winner.root
WHERE loser.place > 1 AND winner.place = 1
ORDER BY shard, row
