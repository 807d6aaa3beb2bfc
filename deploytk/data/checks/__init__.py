"""All that is wrong with a dataset: images, labels, classes, leaks between splits, objects too small to learn."""
