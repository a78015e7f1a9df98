"""One reader for each layout of files that people have."""
