"""Training of the pretrained learner of effects and its comparison with peers."""
