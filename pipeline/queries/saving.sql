-- How many image addresses all pages name, and how many of them are wanted in the end: the published order asks for all.
SELECT COUNT(*) AS named, COALESCE(SUM(wanted), 0) AS wanted
FROM (
    SELECT url_key, MAX(wanted) AS wanted
    FROM (SELECT url_key, 0 AS wanted FROM named UNION ALL SELECT url_key, 1 AS wanted FROM wanted) AS both_of_them
    GROUP BY url_key
) AS addresses
