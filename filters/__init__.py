"""Pure functions that judge: a text or an image's facts in, a verdict out."""
