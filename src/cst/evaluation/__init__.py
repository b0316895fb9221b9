"""A model to completions, verdicts, scores and a report."""
