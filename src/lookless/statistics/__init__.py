"""Intervals, paired tests and agreement: pure functions of numbers, each with its source."""
