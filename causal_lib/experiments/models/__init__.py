"""Recommenders and networks beside their peers."""
