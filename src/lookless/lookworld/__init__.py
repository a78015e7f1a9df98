"""LookWorld, the embedded benchmark, and the tiny VLM that ships with it."""
