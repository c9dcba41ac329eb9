"""Benchmarks, studies, training of pretrained networks and reproductions of papers; nothing in the
library imports them.
"""
