"""Pairs to preferences: the method itself, and the data formats around it."""
