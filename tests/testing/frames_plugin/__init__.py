"""A plugin whose encoder, projector and codec do what they state, and one variant of them for each fault."""
