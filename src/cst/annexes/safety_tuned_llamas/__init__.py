"""The tools of Safety-Tuned LLaMAs (Bianchi et al., ICLR 2024) under their names."""
