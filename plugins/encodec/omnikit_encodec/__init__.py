"""EnCodec, from its own package, as a codec."""
