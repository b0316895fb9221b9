"""Log-probs of responses: `cst.models.logps` has them; here are the names that a training uses."""

from cst.models.logps import ResponseLogps, chunks_of_like_length, response_logps

__all__ = ["ResponseLogps", "chunks_of_like_length", "response_logps"]
