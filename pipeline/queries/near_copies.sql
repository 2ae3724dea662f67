-- Documents of one signature (and, where they count, one set of images), each joined to the first of them. Older captures
-- of an address take no part.
WITH standing AS (
    SELECT signatures.shard * CAST(4294967296 AS BIGINT) + signatures.row AS id, signature_key
    FROM signatures
    LEFT JOIN gone ON signatures.shard = gone.shard AND signatures.row = gone.row
    WHERE gone.row IS NULL
),
firsts AS (
    SELECT signature_key, MIN(id) AS id FROM standing GROUP BY signature_key HAVING COUNT(*) > 1
)
SELECT standing.id AS child, firsts.id AS parent
FROM standing
JOIN firsts ON standing.signature_key = firsts.signature_key
WHERE standing.id <> firsts.id
ORDER BY child
