"""From the bytes of a page to its nodes: decode, extract, and the addresses of images."""
