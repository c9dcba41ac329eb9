"""The article's networks: dense (TensorFlow) and graph (PyTorch Geometric)."""
