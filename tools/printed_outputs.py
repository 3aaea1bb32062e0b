"""Renew what README.md, docs/tutorial and recipes/*/README.md show of the program: printed outputs and diagrams (make docs).

    python tools/printed_outputs.py

A line above a block of printed text names its source; the tests compare the blocks and refuse one without such a line:

    <!-- printed by: omnikit check llama_omni/full -->    renewed here: all that the command prints
    <!-- errors of: omnikit check nothing -->             renewed here: its error messages
    <!-- printed by training: omnikit train asr/tiny -->  numbers of a training, left as they are; the columns are compared
    <!-- files -->                                        a listing of files

A diagram is renewed where a page names the command that draws it into docs/assets/.
"""

import io
import os
import re
import shlex
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout, suppress
from pathlib import Path

from omnikit.cli import main

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted(ROOT.glob("docs/tutorial/*.md")), *sorted(ROOT.glob("recipes/*/README.md"))]
MARKED = re.compile(r"^<!-- (printed by|errors of): (omnikit [^\n]+) -->\n```([^\n]*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
DIAGRAM = re.compile(r"omnikit show [^\n`]*--diagram (docs/assets/[\w.]+)[^\n`]*")


def renew() -> None:
    """Write blocks and diagrams again."""
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        renewed = MARKED.sub(lambda found: "<!-- {}: {} -->\n```{}\n{}```".format(
            *found.group(1, 2, 3), printed(found.group(2), errors=found.group(1) == "errors of")), text)
        if renewed != text:
            page.write_text(renewed, encoding="utf-8")
        for command, _ in diagrams(text):
            printed(command)


def diagrams(text: str) -> Iterator[tuple[str, Path]]:
    """Give each command of a page that draws a diagram into docs/assets/, and the file."""
    for found in DIAGRAM.finditer(text):
        yield found.group(), ROOT / found.group(1)


def printed(command: str, *, errors: bool = False) -> str:
    """Give what an omnikit command prints, or its error messages; paths are those of the repository."""
    os.environ["COLUMNS"] = "100"
    os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")  # `check` would compare with the card of this machine
    before, out, err = Path.cwd(), io.StringIO(), io.StringIO()
    try:
        os.chdir(ROOT)
        with redirect_stdout(out), redirect_stderr(err), suppress(SystemExit):
            main(shlex.split(command)[1:])
    finally:
        os.chdir(before)
    return err.getvalue() if errors else out.getvalue()


if __name__ == "__main__":
    renew()
