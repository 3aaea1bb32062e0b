"""Memory that was freed goes back to the system; glibc keeps it where something that is in use lies behind it."""

import ctypes
import gc
import sys


def return_freed_memory() -> None:
    """Give whole pages back that nothing uses, which takes half a millisecond; does nothing where there is no glibc.

    Where `freeze_objects` was called, unused cycles are freed first: Python itself waits for 85 000 new objects.
    """
    if gc.get_freeze_count():
        gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None
    if trim is not None:
        trim(0)


def freeze_objects() -> None:
    """Let Python's search for unused cycles pass over all objects that are there now.

    A server begins with half a million, so that each search would hold up the answers that run.
    """
    gc.collect()
    gc.freeze()
