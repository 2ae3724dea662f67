-- All that joins near-duplicates: copies, and pairs that were compared and found alike.
SELECT child, parent FROM copies
UNION ALL
SELECT child, parent FROM verified
ORDER BY child, parent
