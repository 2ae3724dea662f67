-- For each image that stands in more than one place, itself or a near one: the class, on how many pages its images stand,
-- and where the first of them stands, with its hash. The class of a picture that is joined to none is itself.
WITH classed AS (
    SELECT images.shard AS shard, images.row AS row, images.position AS position, h0, h1, h2, h3,
           CASE WHEN members.parent IS NULL THEN images.picture ELSE members.parent END AS class
    FROM images
    LEFT JOIN (SELECT child, MIN(parent) AS parent FROM components GROUP BY child) AS members ON images.picture = members.child
),
counted AS (
    SELECT class, COUNT(DISTINCT shard * CAST(4294967296 AS BIGINT) + row) AS pages
    FROM classed
    GROUP BY class
    HAVING COUNT(*) > 1
),
ranked AS (
    SELECT class, shard, row, position, h0, h1, h2, h3,
           ROW_NUMBER() OVER (PARTITION BY class ORDER BY shard, row, position) AS place
    FROM classed
)
SELECT classed.shard AS shard, classed.row AS row, classed.position AS position, classed.class AS class, counted.pages AS pages,
       first.shard AS first_shard, first.row AS first_row, first.position AS first_position,
       first.h0 AS h0, first.h1 AS h1, first.h2 AS h2, first.h3 AS h3
FROM classed
JOIN counted ON classed.class = counted.class
JOIN (SELECT * FROM ranked WHERE place = 1) AS first ON classed.class = first.class
ORDER BY shard, row, position
