"""The stages of a run folder: which files and settings go in, which files come out."""
