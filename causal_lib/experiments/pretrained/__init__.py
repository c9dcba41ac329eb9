"""Training of the pretrained discoverer, its ablations and its comparison with peers."""
