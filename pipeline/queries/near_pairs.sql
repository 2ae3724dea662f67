-- Each pair with what of its earlier document is compared, for the shard of the later one.
SELECT CAST(child // 4294967296 AS INT) AS shard, CAST(child % 4294967296 AS INT) AS row, parent, signature, images
FROM candidates
JOIN signatures ON candidates.parent = signatures.shard * CAST(4294967296 AS BIGINT) + signatures.row
ORDER BY shard, row, parent
