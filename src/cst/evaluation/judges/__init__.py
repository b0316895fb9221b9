"""Who says which side an answer shows: one protocol, several kinds."""
