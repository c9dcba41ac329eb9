"""Functions that `peers.run` calls in a process of their own, some of them by the interpreter of a
peer's environment.

No module here needs causal_lib to be imported: packages are imported by the function that uses
them.
"""
