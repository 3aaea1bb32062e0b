"""Write the pages of docs/ that follow from code and READMEs: index, recipes, reference (make docs; git ignores them).

    python tools/make_reference.py
"""

import inspect
import io
import itertools
import os
import pkgutil
import re
import sys
import types
import typing
from contextlib import redirect_stderr, redirect_stdout, suppress
from importlib.util import find_spec
from pathlib import Path
from shutil import copyfile
from typing import Any

import omnikit
from omnikit import registry
from omnikit.cli import COMMANDS, main
from omnikit.contracts.specs import KINDS
from omnikit.recipe import presets
from omnikit.recipe.schema import defaults
from omnikit.scaffold.distribution import NewPlugin

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
ROLES = "    options: {show_if_no_docstring: true}\n"
MODULES = {"protocols": ("omnikit.contracts.protocols", ROLES), "configs": ("omnikit.contracts.configs", ROLES),
           "optional": ("omnikit.contracts.optional", ROLES), "streaming": ("omnikit.contracts.streaming", ROLES),
           "builders": ("omnikit.contracts.builders", ROLES), "specs": ("omnikit.contracts.specs", ""),
           "types": ("omnikit.contracts.types", ""), "errors": ("omnikit.errors", "")}
"""Page → module, and how its members are shown."""
ROOMS = ("contracts", "ops", "recipe", "store", "data", "testing")
"""Packages of omnikit that plugins import from; each has a page of the modules that are for plugins and have no page above."""
API = ("compose", "check", "forecast", "inspect", "train", "build", "load", "evaluate", "Recipe", "Plan", "Session", "Answer",
       "Run", "Evaluation")
"""The names of the page about Python, in the order of use."""
RECIPES = ("llama_omni", "asr", "vita", "vita_1_5", "survey")
SYSTEMS = tuple(sorted(path.parent.name for path in (ROOT / "recipes" / "survey").glob("*/README.md")))
PLUGINS = tuple(f"howto/plugins/{kind}.md" for kind in KINDS)
GENERATED = ("index.md", *PLUGINS, *(f"recipes/survey/{name}.md" for name in SYSTEMS),
             *(f"recipes/{name}.md" for name in RECIPES), "reference/commands.md",
             "reference/components.md",
             "reference/api.md", *(f"reference/{page}.md" for page in (*MODULES, *ROOMS)))


def write() -> None:
    """Write every generated page."""
    pages = {
        "index.md": moved(ROOT / "README.md", DOCS),
        **{f"recipes/{name}.md": moved(ROOT / "recipes" / name / "README.md", DOCS / "recipes") for name in RECIPES},
        **{f"recipes/survey/{name}.md": moved(ROOT / "recipes" / "survey" / name / "README.md", DOCS / "recipes" / "survey")
           for name in SYSTEMS},
        "reference/commands.md": commands(),
        "reference/components.md": components(),
        "reference/api.md": api(),
        **{f"howto/plugins/{kind}.md": plugin(kind) for kind in KINDS},
    }
    for page, (module, options) in MODULES.items():
        pages[f"reference/{page}.md"] = f"# {module}\n\n::: {module}\n{options}"
    for room in ROOMS:
        pages[f"reference/{room}.md"] = f"# omnikit.{room}\n\n" + "\n".join(
            f"## {name}\n\n::: {name}\n    options: {{heading_level: 3}}\n" for name in modules(room))
    assert set(pages) == set(GENERATED), "GENERATED lists what this function writes"
    for name, text in pages.items():
        (DOCS / name).parent.mkdir(parents=True, exist_ok=True)
        (DOCS / name).write_text(text, encoding="utf-8")
    for name in SYSTEMS:
        copyfile(ROOT / "recipes" / "survey" / name / "wiring.svg", DOCS / "recipes" / "survey" / f"{name}.svg")


def modules(room: str) -> list[str]:
    """Give the modules of a package for plugins: of contracts and ops all, else those that omnikit's own plugins import."""
    shown = {module for module, _ in MODULES.values()}
    if room in ("contracts", "ops"):
        found = {f"omnikit.{room}.{each.name}" for each in pkgutil.iter_modules([str(ROOT / "omnikit" / room)])}
    elif room == "testing":
        found = {"omnikit.testing"}
    else:
        lines = [re.findall(rf"^ *from (omnikit\.{room}(?:\.\w+)*) import (\w+)", path.read_text(encoding="utf-8"), re.M)
                 for path in (ROOT / "plugins").rglob("*.py") if "tests" not in path.parts]
        found = {f"{parent}.{name}" if is_package(parent) else parent for parent, name in itertools.chain(*lines)}
    return sorted(found - shown)


def is_package(module: str) -> bool:
    """Whether a module is a folder of modules."""
    spec = find_spec(module)
    return spec is not None and spec.submodule_search_locations is not None


def plugin(kind: str) -> str:
    """Give the page of a kind of plugin: what `omnikit new` writes, which omnikit's tests build, install and run."""
    made = NewPlugin(kind, f"acme_{kind}")
    text = [f"# A plugin: {kind}\n", f"What `omnikit new {kind} acme_{kind}` writes. The contract of this kind is in"
            " [configs](../../reference/configs.md), that of its module in [protocols](../../reference/protocols.md).\n"]
    files = made.files()
    for path in sorted(files, key=lambda path: (not path.endswith("config.py"), not path.endswith("model.py"), path)):
        language = {".py": "python", ".toml": "toml", ".yaml": "yaml", ".yml": "yaml"}.get(Path(path).suffix)
        if language and files[path].strip():
            text.append(f'```{language} title="{path}"\n{files[path]}```\n')
    return "\n".join(text)


def moved(readme: Path, folder: Path) -> str:
    """Give a README's text for a page in `folder`: links to pages follow, links to other files become plain text."""
    moved_to = {ROOT / "README.md": DOCS / "index.md"}
    moved_to |= {ROOT / "recipes" / name / "README.md": DOCS / "recipes" / f"{name}.md" for name in RECIPES}
    for name in SYSTEMS:
        system = ROOT / "recipes" / "survey" / name
        moved_to |= {system / file: DOCS / "recipes" / "survey" / f"{name}{ending}" for file, ending in (
            ("README.md", ".md"), ("wiring.svg", ".svg"))}

    def link(match: re.Match[str]) -> str:
        mark, text, target = match.groups()
        path, hash_sign, anchor = target.partition("#")
        if "://" in target or not path:
            return match.group()
        target_file = (readme.parent / path).resolve()
        target_file = moved_to.get(target_file, target_file)
        if DOCS not in target_file.parents:
            return text
        return f"{mark}[{text}]({os.path.relpath(target_file, folder)}{hash_sign}{anchor})"

    return re.sub(r"(!?)\[([^\]]*)\]\(([^)\s]+)\)", link, readme.read_text(encoding="utf-8"))


def api() -> str:
    """Describe what `import omnikit` offers."""
    assert set(API) == set(omnikit.__all__), "API lists what omnikit offers"
    sections = ["# Python\n\n`import omnikit` offers these names and imports neither torch nor Hydra before they are used."
                " A user's error is an `omnikit.errors.OmnikitError` with one sentence for each.\n"]
    for name in API:
        found = getattr(omnikit, name)
        shown = "    options: {show_root_heading: false, show_bases: false}\n"
        sections.append(f"## omnikit.{name}\n\n::: {found.__module__}.{name}\n{shown}")
    return "\n".join(sections)


def commands() -> str:
    """Give the help text of every command."""
    sections = [f"# Commands\n\n```text\n{printed('--help')}```\n"]
    for word, (target, line) in COMMANDS.items():
        text = printed(word, "--help")
        if not text:  # a command without options is described by its module
            text = inspect.cleandoc(sys.modules[target.partition(":")[0]].__doc__ or "") + "\n"
        sections.append(f"## omnikit {word}\n\n{line[0].upper()}{line[1:]}.\n\n```text\n{text}```\n")
    return "\n".join(sections)


def printed(*words: str) -> str:
    """Give what the command line prints."""
    os.environ["COLUMNS"] = "100"
    printed = io.StringIO()
    with redirect_stdout(printed), redirect_stderr(io.StringIO()), suppress(SystemExit):
        main(words)
    return printed.getvalue()


def components() -> str:
    """Give one section for each installed component, with the presets that set it."""
    sections = ["# Components\n\nWhat is installed here; `omnikit show KIND/NAME` prints the same."
                " Defaults train on two CPU cores; presets hold published sizes.\n"]
    for kind in KINDS:
        names = registry.components(kind)
        sections += [f"## {kind}\n"] if names else []
        sections += [section(kind, name) for name in names]
    return "\n".join(sections)


def section(kind: str, name: str) -> str:
    """Describe one component: what it is, its fields, its contract, its presets."""
    cls = registry.component(kind, name)
    about, notes = split(inspect.cleandoc(cls.__doc__ or ""))
    rows = [f"| `{field}` | `{shown(value)}` | {readable(cls, field)} | {notes.get(field, '')} |"
            for field, value in defaults(cls).items()]
    table = ["| field | default | type | meaning |", "|---|---|---|---|", *rows] if rows else ["It has no fields."]
    facts = printed("show", f"{kind}/{name}").partition("\npackage ")
    contract = inspect.cleandoc(facts[0].partition("\ncontract\n")[2]) or "nothing beyond build()"
    package, licence, *_ = (line.partition("  ")[2].strip() for line in ("package " + facts[2]).splitlines())
    return "\n".join([f"### {name}", "", about, "", *table, "", "Its contract, with the defaults:", "", "```text", contract,
                      "```", "", *preset_lines(kind, name), f"Package {package}, licence {licence}.", ""])


def preset_lines(kind: str, name: str) -> list[str]:
    """List the presets of a component, those of datasets too."""
    lines = []
    for group in (kind, *(["data"] if kind == "reader" else [])):
        for preset, found in registry.presets(group).items():
            if presets.read_mapping(found[0].path).get("use") == name:
                lines.append(f"- `{preset}`: {presets.summary(found[0].path)}")
    return ["Presets:", "", *lines, ""] if lines else []


def split(text: str) -> tuple[str, dict[str, str]]:
    """Split a docstring into its prose and the description of each field under `Args:`."""
    prose, fields, last = [], {}, ""
    inside = False
    for line in text.splitlines():
        if line.strip() == "Args:":
            inside = True
        elif inside and (found := re.fullmatch(r"    (\w+): (.*)", line)):
            last = found.group(1)
            fields[last] = found.group(2)
        elif inside and line.startswith("     "):
            fields[last] += f" {line.strip()}"
        else:
            inside = inside and not line.strip()
            prose.append(line)
    return "\n".join(prose).strip(), {field: note.replace("|", "\\|") for field, note in fields.items()}


def readable(cls: type[Any], field: str) -> str:
    """Give a field's type as a reader would write it."""
    kind = typing.get_type_hints(cls)[field]
    if typing.get_origin(kind) is typing.Literal:
        return "one of " + ", ".join(f"`{word}`" for word in typing.get_args(kind))
    if isinstance(kind, types.UnionType):
        return " or ".join("null" if part is types.NoneType else f"`{part.__name__}`" for part in kind.__args__)
    return f"`{kind.__name__ if isinstance(kind, type) and not typing.get_args(kind) else kind}`"


def shown(value: object) -> str:
    """Give a default as YAML writes it."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return "needed" if value == "???" else str(value)


if __name__ == "__main__":
    write()
