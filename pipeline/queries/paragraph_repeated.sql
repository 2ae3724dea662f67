-- A paragraph on more than $max pages of a site goes wherever it stands there (the key holds the site: a host or a
-- registered domain). Captures of one address are one page; pages that go themselves do not count.
WITH standing AS (
    SELECT paragraphs.shard AS shard, paragraphs.row AS row, position, paragraph, page_key, text_key
    FROM paragraphs
    LEFT JOIN gone ON paragraphs.shard = gone.shard AND paragraphs.row = gone.row
    WHERE gone.row IS NULL
),
frequent AS (
    SELECT text_key FROM standing GROUP BY text_key HAVING COUNT(*) > $max
),
repeated AS (
    SELECT standing.text_key AS text_key, COUNT(DISTINCT page_key) AS pages
    FROM standing
    JOIN frequent ON standing.text_key = frequent.text_key
    GROUP BY standing.text_key
    HAVING COUNT(DISTINCT page_key) > $max
)
SELECT shard, row, position, paragraph, pages
FROM standing
JOIN repeated ON standing.text_key = repeated.text_key
ORDER BY shard, row, position, paragraph
