"""What a run looked like: pictures with boxes, plots, and one page from the records on disk."""
