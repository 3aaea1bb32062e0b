"""A trained run behind OpenAI's routes: HTTP, the Realtime WebSocket and a page."""
