"""Manifests: images, labels and splits as the rows of CSV files, up to some hundred thousand of them."""
