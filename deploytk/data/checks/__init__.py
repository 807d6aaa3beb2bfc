"""What is wrong with a dataset, all of it: images, labels, classes, leaks between splits, objects too small to learn."""
