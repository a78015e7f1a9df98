"""Training: operation-aware SFT and rollout-guided RL."""
