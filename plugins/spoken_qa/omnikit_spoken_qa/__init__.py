"""A spoken question-answer corpus that makes itself."""
