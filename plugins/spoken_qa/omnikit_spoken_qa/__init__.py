"""A synthetic spoken question-answer corpus."""
