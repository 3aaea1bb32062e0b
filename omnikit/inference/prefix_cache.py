"""What one conversation keeps of its earlier turns, so that the next prompt is not read from its beginning."""

from __future__ import annotations


class PrefixCache:
    """Owned by one conversation. No backbone fills it yet: see omnikit.inference.scheduler."""
