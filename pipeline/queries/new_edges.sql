-- How many edges the last round made that were not there before; none: the components stand.
SELECT COUNT(*) AS made
FROM after
LEFT JOIN before ON after.child = before.child AND after.parent = before.parent
WHERE before.child IS NULL
