"""The tree in docs/explanation/design.md, made of the folder: `python tools/design_tree.py` writes it into the page.

Rooms stand in the order in which they may import each other (tests/test_layers.py), the topmost first.
"""

import ast
import sys
from pathlib import Path
from textwrap import wrap

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "explanation" / "design.md"
BEGIN, END = "<!-- tree: python tools/design_tree.py -->\n```text\n", "```\n<!-- end of tree -->\n"
WIDTH = 120


def order() -> list[str]:
    """Give the rooms from the lowest to the highest, as tests/test_layers.py has them."""
    tree = ast.parse((ROOT / "tests" / "test_layers.py").read_text(encoding="utf-8"))
    values = [node.value for node in tree.body if isinstance(node, ast.Assign)
              and isinstance(node.targets[0], ast.Name) and node.targets[0].id == "ROOMS"]
    return [room for line in ast.literal_eval(values[0]) for room in line]


def summary(path: Path) -> str:
    """Give the first line of a module's docstring."""
    return (ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or "").partition("\n")[0]


def modules(folder: Path) -> list[str]:
    """Give the modules of a folder by name."""
    return [path.stem for path in sorted(folder.glob("*.py")) if path.stem != "__init__"]


def lines(room: str) -> list[str]:
    """Give a room: its name and purpose, its modules, and the same for folders inside."""
    path = ROOT / "omnikit" / room
    if not path.is_dir():
        file = path.with_suffix(".py")
        return wrap(f"{room}.py  {summary(file)}", WIDTH, subsequent_indent="    ") if file.exists() else []
    found = wrap(f"{room}/  {summary(path / '__init__.py')}", WIDTH, subsequent_indent="    ")
    found += wrap(" · ".join(modules(path)), WIDTH, initial_indent="    ", subsequent_indent="    ")
    for inner in sorted(inner for inner in path.iterdir() if (inner / "__init__.py").exists()):
        text = f"{inner.name}/  {' · '.join(modules(inner))}"
        found += wrap(text, WIDTH, initial_indent="    ", subsequent_indent="        ")
    return found


def tree() -> str:
    """Give the tree of omnikit/, highest room first."""
    return "\n".join(["omnikit/", *(line for room in reversed(order()) for line in lines(room))]) + "\n"


def page(text: str) -> str:
    """Give a page with the tree of today between its two marks."""
    before, begin, rest = text.partition(BEGIN)
    _, end, behind = rest.partition(END)
    assert begin and end, f"{PAGE} lacks the marks of the tree"
    return before + BEGIN + tree() + END + behind


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
    sys.stdout.write(f"{PAGE} has the tree of today.\n")
