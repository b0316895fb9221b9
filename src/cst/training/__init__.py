"""Preferences or demonstrations to an adapter."""
