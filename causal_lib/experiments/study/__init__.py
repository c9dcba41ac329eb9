"""Studies of logs whose truth is known, and the sample log of `data/sample`."""
