"""Coverage of intervals and errors of effects."""
