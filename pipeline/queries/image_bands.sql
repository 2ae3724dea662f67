-- The bands in which two pictures meet or more, each with their hashes, in $parts parts.
WITH met AS (
    SELECT DISTINCT band_key, picture FROM bands
),
crowds AS (
    SELECT band_key FROM met GROUP BY band_key HAVING COUNT(*) > 1
),
pictures AS (
    SELECT DISTINCT picture, h0, h1, h2, h3 FROM images WHERE h0 IS NOT NULL
)
SELECT met.band_key % $parts AS shard, met.band_key AS band_key, met.picture AS picture,
       pictures.h0 AS h0, pictures.h1 AS h1, pictures.h2 AS h2, pictures.h3 AS h3
FROM met
JOIN crowds ON met.band_key = crowds.band_key
JOIN pictures ON met.picture = pictures.picture
ORDER BY shard, band_key, picture
