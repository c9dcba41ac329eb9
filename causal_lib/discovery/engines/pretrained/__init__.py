"""The pretrained discoverer: a small graph network, trained on many random structural models, that
reads a new table at once.
"""
