"""Scripts that make the model files under `filters/data`."""
