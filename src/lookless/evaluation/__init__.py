"""Measuring a model: accuracy, looks, costs, and whether it looked when it had to."""
