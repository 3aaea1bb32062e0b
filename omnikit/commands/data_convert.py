"""A dataset in one format written in another: what `omnikit data convert` prints."""

import sys
from collections.abc import Mapping
from pathlib import Path

from omnikit.data.formats import convert, recognise, writer_of


def run(source: Path, out: Path, fields: Mapping[str, object], *, reader: str | None, to: str | None) -> int:
    """Convert a dataset; gives 0.

    Args:
        fields: of the reader of `source`.
        reader: the reader of `source`; None: it is recognised.
        to: the reader whose format is written; None: that which the ending of `out` stands for.
    """
    writer = to or writer_of(out)
    found = recognise(source, reader, fields)
    made = convert(found.rows, out, writer)
    sys.stdout.write(f"{source} ({found.reader}, {made.rows} rows) is written to {out} ({writer}).\n")
    if made.left_out:
        left = ", ".join(f"{count} {what}" for what, count in made.left_out.items())
        sys.stdout.write(f"{writer} cannot hold all of it; left out: {left}.\n")
    return 0
