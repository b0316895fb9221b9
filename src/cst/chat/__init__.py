"""The one seam through which text comes back from any model."""
