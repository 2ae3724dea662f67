-- An image address on more than $max pages goes wherever it stands.
WITH everywhere AS (
    SELECT url_key, COUNT(DISTINCT shard * CAST(4294967296 AS BIGINT) + row) AS pages
    FROM images
    GROUP BY url_key
    HAVING COUNT(DISTINCT shard * CAST(4294967296 AS BIGINT) + row) > $max
)
SELECT images.shard AS shard, images.row AS row, images.position AS position, everywhere.pages AS pages
FROM images
JOIN everywhere ON images.url_key = everywhere.url_key
ORDER BY shard, row, position
