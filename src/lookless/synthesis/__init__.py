"""Training data from questions: demonstrations, and which questions need a look."""
