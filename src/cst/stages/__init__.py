"""The stages of a run folder, one file a stage: which files and settings go in, which files come out."""
