"""Documents and images in; who says no to training out, with the evidence. The most restrictive statement wins."""
