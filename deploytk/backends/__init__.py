"""Where models come from: one module per training library."""
