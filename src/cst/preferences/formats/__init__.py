"""The columns that the field keeps prompts and preferences in: what they are called, how a row is read and written."""
