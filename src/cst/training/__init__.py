"""Preferences to an adapter."""
