"""What a component's author imports: specs, tensors, protocols and optional members. Reads no configuration."""
