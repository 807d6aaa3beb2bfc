"""The pipeline, one verb per file."""
