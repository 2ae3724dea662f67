-- A paragraph on more than $max pages of a host goes wherever it stands on that host (the key holds the host). Pages
-- that go themselves, as an older capture or a near-duplicate, do not count.
WITH standing AS (
    SELECT paragraphs.shard AS shard, paragraphs.row AS row, position, paragraph, text_key
    FROM paragraphs
    LEFT JOIN gone ON paragraphs.shard = gone.shard AND paragraphs.row = gone.row
    WHERE gone.row IS NULL
),
repeated AS (
    SELECT text_key, COUNT(DISTINCT shard * CAST(4294967296 AS BIGINT) + row) AS pages
    FROM standing
    GROUP BY text_key
    HAVING COUNT(DISTINCT shard * CAST(4294967296 AS BIGINT) + row) > $max
)
SELECT standing.shard AS shard, standing.row AS row, position, paragraph, pages
FROM standing
JOIN repeated ON standing.text_key = repeated.text_key
ORDER BY shard, row, position, paragraph
