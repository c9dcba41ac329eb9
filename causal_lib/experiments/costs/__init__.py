"""Cost of each method in seconds, memory and stored bytes, against the size of the data."""
