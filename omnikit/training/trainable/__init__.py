"""What a stage trains of each part: adapters, freezing and its proof, small matrices."""
