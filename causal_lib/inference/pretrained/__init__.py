"""A learner of effects that was trained on random tables with known effects."""
