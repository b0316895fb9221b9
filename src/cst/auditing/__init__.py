"""What is in a file of preferences or prompts, and what is wrong with it, before anything is trained on it."""
