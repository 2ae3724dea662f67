-- No document: what a decision says that is not taken.
SELECT shard, row, shard AS twin_shard, row AS twin_row
FROM pages
WHERE shard < 0
