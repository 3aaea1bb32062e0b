"""Who may import whom (docs/explanation/design.md): every import counts, also under TYPE_CHECKING and inside functions.

A room is a folder of omnikit/ or a file beside them. An import goes to its own room or to a lower one; plugins know nothing of
each other. The one late import that is allowed is a component's `build()`, which imports the plugin's own model module.
"""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ROOMS = (  # from the lowest; rooms of one line are side by side: neither imports the other
    ("errors", "paths", "progress", "text_table"),
    ("contracts",),
    ("ops",),
    ("registry",),
    ("recipe",),
    ("plan",),
    ("splice", "parts"),
    ("part_modules",),
    ("taps",),
    ("model",),
    ("store",),
    ("data",),
    ("training", "inference"),
    ("evaluation",),
    ("serving", "testing", "scaffold"),
    ("api",),
    ("__init__",),
    ("commands", "cli"),
)
LEVEL = {room: level for level, rooms in enumerate(ROOMS) for room in rooms}
ONE_ROOM = ({"commands", "cli"},)  # of one line, and one room in two places
HEAVY = {"torch", "torchaudio", "transformers", "pytorch_lightning", "lightning", "hydra", "omegaconf", "yaml", "numpy",
         "scipy", "soundfile", "soxr", "safetensors", "tokenizers", "rich", "jiwer", "torchmetrics", "espeakng_loader"}
# rooms that import no third-party package
STANDARD = ("__init__", "api", "errors", "paths", "text_table", "registry", "cli", "contracts", "recipe", "plan")
WITH_HYDRA = ("compose", "config_source", "hydra_errors", "sweep")  # of recipe/
LIGHT_COMMANDS = ("arguments", "bench", "bundle", "chat", "check", "check_head", "compare", "completion", "data", "diff",
                  "eval", "export", "import_", "list", "new", "replay", "runs", "serve", "show", "test_plugin", "train",
                  "voice")
FOR_PLUGINS = {"errors", "paths", "progress", "contracts", "ops", "registry", "recipe", "store", "data"}
FOR_LIGHT_MODULES = {"errors", "contracts", "recipe"}
FILES = sorted((ROOT / "omnikit").rglob("*.py"))
PLUGINS = sorted(path.parent for path in (ROOT / "plugins").glob("*/omnikit_*/__init__.py"))
PLUGIN_FILES = sorted(path for folder in PLUGINS for path in folder.rglob("*.py"))


def module(path: Path) -> str:
    name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
    return name.removesuffix(".__init__")


MODULES = {module(path) for path in FILES}


def imports(path: Path, *, at_import_only: bool = False) -> Iterator[str]:
    """Give the modules that a file imports; with `at_import_only`, without those inside functions and TYPE_CHECKING."""
    nodes: list[ast.AST] = [ast.parse(path.read_text(encoding="utf-8"))]
    while nodes:
        node = nodes.pop()
        if at_import_only and isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        if at_import_only and isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            nodes += node.orelse
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports relatively; write the whole name"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            yield from (name if name in MODULES else node.module or "" for name in names)
        nodes += ast.iter_child_nodes(node)


def room(name: str) -> str:
    """Give the room that a module of omnikit stands in: omnikit.data.batch.collate → data, omnikit → __init__."""
    words = name.split(".")
    return words[1] if len(words) > 1 else "__init__"


def rooms_of(path: Path, *, at_import_only: bool = False) -> set[str]:
    """Give the rooms of omnikit that a file imports; the folders of YAML are none."""
    names = {name for name in imports(path, at_import_only=at_import_only) if re.match(r"omnikit(\.|$)", name)}
    return {room(name) for name in names} - {"conf", "recipes"}


def outside(path: Path, *, at_import_only: bool) -> set[str]:
    """Give the packages that a file imports."""
    return {name.partition(".")[0] for name in imports(path, at_import_only=at_import_only)}


def named(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", FILES, ids=named)
def test_every_file_has_a_room(path: Path) -> None:
    assert room(module(path)) in LEVEL


@pytest.mark.parametrize("path", FILES, ids=named)
def test_an_import_only_goes_down(path: Path) -> None:
    own = room(module(path))
    same = next((rooms for rooms in ONE_ROOM if own in rooms), {own})
    wrong = {other for other in rooms_of(path) - same if LEVEL[other] >= LEVEL[own]}
    assert not wrong, f"{named(path)} is in {own}, but imports {', '.join(sorted(wrong))}"


def test_modules_of_omnikit_form_no_cycle() -> None:
    graph = {module(path): MODULES & set(imports(path)) - {module(path)} for path in FILES}
    assert len(list(TopologicalSorter(graph).static_order())) == len(MODULES)


@pytest.mark.parametrize("path", FILES, ids=named)
def test_no_file_is_longer_than_300_lines(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").split("\n")) <= 301  # the last one is empty


@pytest.mark.parametrize("path", [p for p in FILES if room(module(p)) in STANDARD and p.stem not in WITH_HYDRA], ids=named)
def test_light_rooms_import_the_standard_library_alone(path: Path) -> None:
    assert outside(path, at_import_only=True) <= {*sys.stdlib_module_names, "omnikit"}


@pytest.mark.parametrize("name", WITH_HYDRA)
def test_compose_adds_hydra_and_nothing_else(name: str) -> None:
    found = outside(ROOT / "omnikit" / "recipe" / f"{name}.py", at_import_only=True)
    assert found <= {*sys.stdlib_module_names, "omnikit", "hydra", "omegaconf"}


@pytest.mark.parametrize("path", [path for path in FILES if room(module(path)) in ("data", "model", "store")], ids=named)
def test_lightning_stays_in_training(path: Path) -> None:
    assert not outside(path, at_import_only=False) & {"pytorch_lightning", "lightning"}


@pytest.mark.parametrize("path", [p for p in FILES if p.stem not in WITH_HYDRA and room(module(p)) != "commands"], ids=named)
def test_hydra_ends_at_compose(path: Path) -> None:
    assert "hydra" not in outside(path, at_import_only=False)


@pytest.mark.parametrize("name", LIGHT_COMMANDS)
def test_commands_that_need_no_torch_import_none(name: str) -> None:
    assert not outside(ROOT / "omnikit" / "commands" / f"{name}.py", at_import_only=True) & HEAVY


@pytest.mark.parametrize("folder", PLUGINS, ids=lambda folder: folder.name)
def test_a_plugins_light_modules_are_light(folder: Path) -> None:
    for path in [folder / "__init__.py", *folder.glob("conf*/**/*.py"), *folder.glob("config.py")]:
        assert not outside(path, at_import_only=True) & HEAVY, named(path)
        assert rooms_of(path, at_import_only=True) <= FOR_LIGHT_MODULES


@pytest.mark.parametrize("path", PLUGIN_FILES, ids=named)
def test_plugins_never_import_each_other(path: Path) -> None:
    own = path.relative_to(ROOT / "plugins").parts[1]
    assert {name for name in outside(path, at_import_only=False) if name.startswith("omnikit_")} <= {own}


@pytest.mark.parametrize("path", PLUGIN_FILES, ids=named)
def test_plugins_import_no_room_above_data(path: Path) -> None:
    assert rooms_of(path) <= FOR_PLUGINS


def test_omnikit_contains_no_model() -> None:
    known = {folder.name for folder in PLUGINS}
    assert not {name for path in FILES for name in outside(path, at_import_only=False)} & known


def test_list_imports_no_torch() -> None:
    command = [sys.executable, "-X", "importtime", "-m", "omnikit.cli", "list"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    lines = [line for line in done.stderr.splitlines() if line.startswith("import time:")]
    loaded = {line.rpartition("|")[2].strip().partition(".")[0] for line in lines}
    assert "whisper" in done.stdout and "omnikit" in loaded
    assert not loaded & {"torch", "transformers", "pytorch_lightning", "lightning", "numpy", "hydra"}
