"""The wire codec: bytes to typed events and back; no socket, no model."""
