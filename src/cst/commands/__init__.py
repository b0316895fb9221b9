"""What a command of `cst` does once its words are read: one file a command, or a few that belong together."""
