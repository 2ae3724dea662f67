-- The documents that earlier decisions drop, together.
SELECT shard, row FROM older
UNION ALL
SELECT shard, row FROM twins
