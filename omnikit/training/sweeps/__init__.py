"""Several trainings: sweeps, searches, and where their jobs run."""
