-- Large-star (Kiveris et al., Connected Components in MapReduce and Beyond, 2014): the larger neighbours of every
-- document are joined to the smallest of its neighbourhood.
WITH pairs AS (
    SELECT child AS id, parent AS neighbour FROM edges
    UNION ALL
    SELECT parent AS id, child AS neighbour FROM edges
),
roots AS (
    SELECT id, CASE WHEN MIN(neighbour) < id THEN MIN(neighbour) ELSE id END AS root FROM pairs GROUP BY id
)
SELECT DISTINCT pairs.neighbour AS child, roots.root AS parent
FROM pairs
JOIN roots ON pairs.id = roots.id
WHERE pairs.neighbour > pairs.id
ORDER BY child, parent
