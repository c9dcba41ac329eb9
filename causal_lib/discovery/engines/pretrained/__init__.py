"""The pretrained discoverer: a graph network trained on many random tables with known graphs."""
