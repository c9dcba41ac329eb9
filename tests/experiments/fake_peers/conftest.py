"""Stand-ins for the packages of `make peers`, for the benchmarks that need one: no tests, and no
doctests to collect.
"""

collect_ignore_glob = ["*"]
