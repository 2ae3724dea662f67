-- An image address on more than $max pages goes wherever it stands. Captures of one address are one page.
WITH frequent AS (
    SELECT url_key FROM images GROUP BY url_key HAVING COUNT(*) > $max
),
standing AS (
    SELECT images.url_key AS url_key, page_key FROM images JOIN frequent ON images.url_key = frequent.url_key
),
everywhere AS (
    SELECT url_key, COUNT(DISTINCT page_key) AS pages
    FROM standing
    GROUP BY url_key
    HAVING COUNT(DISTINCT page_key) > $max
)
SELECT images.shard AS shard, images.row AS row, images.position AS position, everywhere.pages AS pages
FROM images
JOIN everywhere ON images.url_key = everywhere.url_key
ORDER BY shard, row, position
