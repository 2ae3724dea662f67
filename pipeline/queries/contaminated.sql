-- The paragraphs that share an n-gram with an item of an evaluation set, and how many; an n-gram of more documents than its
-- set allows is a common phrase and does not count.
WITH rare AS (
    SELECT gram
    FROM hits
    GROUP BY gram
    HAVING COUNT(DISTINCT shard * CAST(4294967296 AS BIGINT) + row) <= MIN(most)
)
SELECT hits.shard AS shard, hits.row AS row, hits.position AS position, hits.paragraph AS paragraph, hits.item AS item,
       COUNT(*) AS grams
FROM hits
JOIN rare ON hits.gram = rare.gram
GROUP BY hits.shard, hits.row, hits.position, hits.paragraph, hits.item
ORDER BY shard, row, position, paragraph, item
