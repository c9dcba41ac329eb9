"""Data: simulated worlds, real sources, the store, preprocessing."""
