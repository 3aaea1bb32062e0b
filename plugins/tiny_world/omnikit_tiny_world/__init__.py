"""A tiny world that draws, films and speaks itself."""
