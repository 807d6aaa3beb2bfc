"""Images and labels: layouts, checks, views, sample sets."""
