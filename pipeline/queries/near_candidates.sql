-- Pairs of documents to be compared: those that share a band. Up to $window of them: all pairs. Of more each with its
-- neighbours, at least $window on either side, in an order in which like signatures stand together, and with the
-- first of the band: pairs grow as documents do. Older captures and copies of another take no part.
WITH standing AS (
    SELECT bands.shard * CAST(4294967296 AS BIGINT) + bands.row AS id, band_key, order_key
    FROM bands
    LEFT JOIN gone ON bands.shard = gone.shard AND bands.row = gone.row
    WHERE gone.row IS NULL
),
shared AS (
    SELECT band_key FROM standing GROUP BY band_key HAVING COUNT(*) > 1
),
members AS (
    SELECT standing.id AS id, standing.band_key AS band_key, order_key
    FROM standing
    JOIN shared ON standing.band_key = shared.band_key
    LEFT JOIN copies ON standing.id = copies.child
    WHERE copies.child IS NULL
),
placed AS (
    SELECT id, band_key, ROW_NUMBER() OVER (PARTITION BY band_key ORDER BY order_key, id) - 1 AS place FROM members
),
blocks AS (
    SELECT id, band_key, place, place // $window AS block FROM placed
),
reached AS (
    SELECT id, band_key, place, block FROM blocks
    UNION ALL
    SELECT id, band_key, place, block - 1 AS block FROM blocks WHERE block > 0
),
roots AS (
    SELECT band_key, MIN(id) AS root FROM placed GROUP BY band_key HAVING COUNT(*) > $window
),
pairs AS (
    SELECT blocks.id AS one, reached.id AS other
    FROM blocks
    JOIN reached ON blocks.band_key = reached.band_key AND blocks.block = reached.block
    WHERE blocks.place < reached.place
    UNION ALL
    SELECT placed.id AS one, roots.root AS other
    FROM placed
    JOIN roots ON placed.band_key = roots.band_key
    WHERE placed.id <> roots.root
)
SELECT DISTINCT CASE WHEN one > other THEN one ELSE other END AS child,
                CASE WHEN one > other THEN other ELSE one END AS parent
FROM pairs
ORDER BY child, parent
