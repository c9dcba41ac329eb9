"""Speed and accuracy of causal discovery, beside its peers."""
