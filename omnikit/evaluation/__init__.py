"""A run is scored: answers, records, metrics, report."""
