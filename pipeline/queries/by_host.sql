-- All addresses, those of one host together, so that one of $buckets workers asks it.
SELECT bucket % $buckets AS shard, shard AS of_shard, row, position, url, origin, crawl_date, licences
FROM addresses
ORDER BY shard, origin, url, of_shard, row, position
