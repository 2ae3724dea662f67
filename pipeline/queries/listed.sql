-- The addresses that stand on a list, themselves or by a host that they lie below; of several names the first.
SELECT keys.shard AS shard, keys.row AS row, keys.position AS position, MIN(keys.name) AS name
FROM keys
JOIN listed ON keys.name_key = listed.name_key
GROUP BY keys.shard, keys.row, keys.position
ORDER BY shard, row, position
