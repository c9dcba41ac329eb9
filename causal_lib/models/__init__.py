"""The article's networks, dense (TensorFlow) and graph (PyTorch Geometric); recommenders, plain and debiased, on one trainer."""
