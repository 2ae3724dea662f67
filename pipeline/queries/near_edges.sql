-- Documents that share a band, each joined to the smallest of them. Older captures of an address take no part.
WITH standing AS (
    SELECT bands.shard * CAST(4294967296 AS BIGINT) + bands.row AS id, band, band_key
    FROM bands
    LEFT JOIN gone ON bands.shard = gone.shard AND bands.row = gone.row
    WHERE gone.row IS NULL
),
smallest AS (
    SELECT band, band_key, MIN(id) AS root FROM standing GROUP BY band, band_key HAVING COUNT(*) > 1
)
SELECT DISTINCT standing.id AS child, smallest.root AS parent
FROM standing
JOIN smallest ON standing.band = smallest.band AND standing.band_key = smallest.band_key
WHERE standing.id <> smallest.root
ORDER BY child, parent
