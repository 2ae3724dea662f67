-- Small-star: every document and its smaller neighbours are joined to the smallest of them.
WITH roots AS (
    SELECT child AS id, MIN(parent) AS root FROM edges GROUP BY child
)
SELECT DISTINCT child, parent
FROM (
    SELECT id AS child, root AS parent FROM roots
    UNION ALL
    SELECT edges.parent AS child, roots.root AS parent
    FROM edges
    JOIN roots ON edges.child = roots.id
    WHERE edges.parent <> roots.root
) AS joined
ORDER BY child, parent
