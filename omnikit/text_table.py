"""Plain text in columns; needs the standard library alone."""

from collections.abc import Iterable, Sequence


def columns(lines: Iterable[Sequence[str]], indent: str = "  ") -> str:
    """Set lines in columns, each as wide as its widest cell; the last column is free."""
    lines = [tuple(line) for line in lines]
    widths = [max(len(line[i]) for line in lines if i < len(line)) for i in range(max(map(len, lines), default=0))]
    padded = (indent + "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=False)) for line in lines)
    return "".join(line.rstrip() + "\n" for line in padded)
