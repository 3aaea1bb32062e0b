"""What a training shows of itself: metrics, trackers, curves, the time that is left."""
