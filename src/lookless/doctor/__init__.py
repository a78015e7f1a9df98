"""What would go wrong in training, found before it begins."""
