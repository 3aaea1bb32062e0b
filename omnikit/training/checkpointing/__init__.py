"""A stage that stops goes on: checkpoints, signals, the state of everything that training changes."""
