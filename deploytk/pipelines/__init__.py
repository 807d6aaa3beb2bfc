"""A detector and a classifier that run as one thing: from an image to boxes with names.

description  pipeline.json: what the pipeline consists of, strictly read
folder       writes a whole folder: both models, pipeline.json, labels, lineage, an example
sessions     the two models, opened so that they do not take the cores from each other
running      from images to what is in them, stage by stage
accuracy     how right it is, per stage and as a whole
drawing      boxes and names on an image
"""
