"""Memory that was freed goes back to the system; glibc keeps it where something that is in use lies behind it."""

import ctypes
import sys


def return_freed_memory() -> None:
    """Give whole pages back that nothing uses, which takes half a millisecond; does nothing where there is no glibc."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None
    if trim is not None:
        trim(0)
