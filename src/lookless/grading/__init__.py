"""Verdicts on answers, shared by rewards and benchmarks: deterministic and offline."""

from lookless.grading.exact import exact_match, grade

__all__ = ["exact_match", "grade"]
