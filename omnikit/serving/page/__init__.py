"""The page: static files that the server gives at /."""
