-- What was said of the addresses of each shard.
SELECT * FROM findings ORDER BY shard, row, position, signal
