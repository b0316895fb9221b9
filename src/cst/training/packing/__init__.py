"""Rows packed as trees of unique tokens, so that neither padding nor a shared prefix is computed twice."""
