"""Official benchmarks, one file each: questions from the distributed files, and their metrics."""
