"""Text instructions become spoken questions with spoken answers."""
