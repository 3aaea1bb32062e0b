"""Speech units by k-means over log-mel frames."""
