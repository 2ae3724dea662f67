"""Models that look at images: decoded pictures in, scores out; and the script that makes the one that comes along."""
