"""A recipe to a run folder: the stages, and what they share."""
