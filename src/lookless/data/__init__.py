"""Questions and trajectories on disk: records, readers of other forms, validation, export."""
