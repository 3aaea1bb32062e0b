"""A stage of a plan is trained: losses, optimizers, freezing, codecs, vocoders. Imports no inference."""
