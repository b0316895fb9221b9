"""README.md files for the Hub, of data sets and models, from the facts of a run folder."""
