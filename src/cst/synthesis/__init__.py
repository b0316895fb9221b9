"""Prompts to pairs of responses."""
