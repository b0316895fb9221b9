"""Weights, adapters, and messages as tokens."""
