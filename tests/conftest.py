"""Property tests draw the same examples on every machine and every day, and are not timed."""

from hypothesis import settings

settings.register_profile("cst", deadline=None, derandomize=True, database=None)
settings.load_profile("cst")
