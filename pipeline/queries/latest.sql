-- Of the documents with one key (of their address, of their set of images) the latest capture stays; among those of one
-- date, the one that stands last in the crawl. Those that are gone already take no part.
WITH standing AS (
    SELECT keyed.shard * CAST(4294967296 AS BIGINT) + keyed.row AS id, key, crawl_date
    FROM keyed
    LEFT JOIN gone ON keyed.shard = gone.shard AND keyed.row = gone.row
    WHERE gone.row IS NULL
),
shared AS (
    SELECT key, MAX(crawl_date) AS latest FROM standing GROUP BY key HAVING COUNT(*) > 1
),
members AS (
    SELECT standing.id AS id, standing.key AS key, CASE WHEN crawl_date = latest THEN id ELSE -1 END AS last
    FROM standing
    JOIN shared ON standing.key = shared.key
),
winners AS (
    SELECT key, MAX(last) AS id FROM members GROUP BY key
)
SELECT CAST(members.id // 4294967296 AS INT) AS shard, CAST(members.id % 4294967296 AS INT) AS row,
       CAST(winners.id // 4294967296 AS INT) AS twin_shard, CAST(winners.id % 4294967296 AS INT) AS twin_row
FROM members
JOIN winners ON members.key = winners.key
WHERE members.id <> winners.id
ORDER BY shard, row
