"""Search algorithms of our own, one a file: arrays in and out."""
