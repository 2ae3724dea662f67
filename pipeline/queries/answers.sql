-- For each image that a document wants, what its mirror or the web answered and where that lies.
SELECT wanted.shard AS shard, wanted.row AS row, wanted.position AS position, answers.part AS part,
       answers.reason AS reason, answers.detail AS detail, answers.headers AS headers,
       answers.place AS place, answers.size AS size
FROM wanted
JOIN answers ON wanted.url_key = answers.url_key
ORDER BY wanted.shard, wanted.row, wanted.position
