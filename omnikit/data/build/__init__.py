"""Datasets made by builders: folders that resume, journals, cached recordings."""
