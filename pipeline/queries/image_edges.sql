-- Pairs of close pictures, each once; a pair may be found in several bands.
SELECT DISTINCT child, parent FROM found ORDER BY child, parent
