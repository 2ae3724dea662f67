"""Carnac: web crawls into interleaved image-text corpora, and IDEFICS trained on them."""
