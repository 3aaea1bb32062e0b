"""Who may import whom (docs/explanation/design.md): lower layers know nothing of higher ones, plugins nothing of each other."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
HEAVY = {"torch", "torchaudio", "transformers", "pytorch_lightning", "lightning", "hydra", "omegaconf", "yaml", "numpy",
         "scipy", "soundfile", "soxr", "safetensors", "tokenizers", "rich", "jiwer", "torchmetrics", "espeakng_loader"}
STANDARD = ("__init__", "building", "choices", "cli", "errors", "extending", "finding", "fitting", "places", "plan",
            "protocols", "recipe", "refusals", "registry", "schema", "sources", "speaking", "specs", "staging", "supplies",
            "types", "wiring")
WITH_HYDRA = ("config", "explain")
LIGHT_COMMANDS = ("arguments", "chat", "check", "check_head", "completion", "data", "eval", "export", "import_", "list",
                  "picture", "show", "table", "train", "voice")
LAYER = {**dict.fromkeys((*STANDARD, *WITH_HYDRA), 1), "streaming": 2, "data": 2, "model": 3, "training": 4, "inference": 5,
         "evaluation": 6, "serving": 6, "commands": 7, "testing": 7, "conf": 0, "recipes": 0}
FILES = sorted((ROOT / "omnikit").rglob("*.py"))
PLUGINS = sorted(path.parent for path in (ROOT / "plugins").glob("*/omnikit_*/config.py"))
PLUGIN_FILES = sorted(path for folder in PLUGINS for path in folder.rglob("*.py"))


def imports(path: Path, *, at_import_only: bool) -> Iterator[str]:
    """Give the modules that a file imports; with `at_import_only`, without those inside functions and TYPE_CHECKING."""
    nodes: list[ast.AST] = [ast.parse(path.read_text(encoding="utf-8"))]
    while nodes:
        node = nodes.pop()
        if at_import_only and isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            nodes += node.orelse
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports relatively; write the whole name"
            yield node.module or ""
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        nodes += ast.iter_child_nodes(node)


def module(path: Path) -> str:
    name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
    return name.removesuffix(".__init__")


def part(name: str) -> str:
    """Give the part of omnikit that a module belongs to: omnikit.data.rows → data, omnikit → __init__."""
    words = name.split(".")
    return words[1] if len(words) > 1 else "__init__"


def named(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", FILES, ids=named)
def test_every_file_has_a_layer(path: Path) -> None:
    assert part(module(path)) in LAYER


@pytest.mark.parametrize("path", FILES, ids=named)
def test_lower_layers_never_import_higher_ones(path: Path) -> None:
    own = LAYER[part(module(path))]
    inside = {part(name) for name in imports(path, at_import_only=True) if name.startswith("omnikit.")}
    higher = {other for other in inside & set(LAYER) if LAYER[other] > own}
    assert not higher, f"{named(path)} is of layer {own}, but imports {', '.join(sorted(higher))}"


@pytest.mark.parametrize("path", FILES, ids=named)
def test_no_file_is_longer_than_300_lines(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").split("\n")) <= 301  # the last one is empty


def test_modules_of_omnikit_form_no_circle() -> None:
    names = {module(path) for path in FILES}
    graph = {module(path): names & set(imports(path, at_import_only=True)) - {module(path)} for path in FILES}
    assert len(list(TopologicalSorter(graph).static_order())) == len(names)


@pytest.mark.parametrize("path", [path for path in FILES if part(module(path)) in STANDARD], ids=named)
def test_layer_one_is_the_standard_library(path: Path) -> None:
    outside = {name.partition(".")[0] for name in imports(path, at_import_only=True)}
    assert outside <= {*sys.stdlib_module_names, "omnikit"}


@pytest.mark.parametrize("name", WITH_HYDRA)
def test_config_adds_hydra_and_nothing_else(name: str) -> None:
    outside = {other.partition(".")[0] for other in imports(ROOT / "omnikit" / f"{name}.py", at_import_only=True)}
    assert outside <= {*sys.stdlib_module_names, "omnikit", "hydra", "omegaconf"}


@pytest.mark.parametrize("path", [path for path in FILES if part(module(path)) in ("streaming", "data", "model")], ids=named)
def test_lightning_stays_in_training(path: Path) -> None:
    assert not {name.partition(".")[0] for name in imports(path, at_import_only=False)} & {"pytorch_lightning", "lightning"}


@pytest.mark.parametrize("path", [p for p in FILES if part(module(p)) not in (*WITH_HYDRA, "commands")], ids=named)
def test_hydra_ends_at_config(path: Path) -> None:
    assert "hydra" not in {name.partition(".")[0] for name in imports(path, at_import_only=False)}


@pytest.mark.parametrize("name", LIGHT_COMMANDS)
def test_commands_that_need_no_torch_import_none(name: str) -> None:
    path = ROOT / "omnikit" / "commands" / f"{name}.py"
    assert not {other.partition(".")[0] for other in imports(path, at_import_only=True)} & HEAVY


@pytest.mark.parametrize("folder", PLUGINS, ids=lambda folder: folder.name)
def test_a_plugins_light_modules_are_light(folder: Path) -> None:
    for path in [folder / "__init__.py", *folder.glob("conf*/**/*.py"), folder / "config.py"]:
        outside = set(imports(path, at_import_only=True))
        assert not {name.partition(".")[0] for name in outside} & HEAVY, named(path)
        inside = {part(name) for name in outside if name.startswith("omnikit.")}
        assert inside <= {"specs", "errors", "schema", "protocols", "building", "types"}


@pytest.mark.parametrize("path", PLUGIN_FILES, ids=named)
def test_plugins_never_import_each_other(path: Path) -> None:
    own = path.relative_to(ROOT / "plugins").parts[1]
    others = {name.partition(".")[0] for name in imports(path, at_import_only=False) if name.startswith("omnikit_")}
    assert others <= {own}


@pytest.mark.parametrize("path", PLUGIN_FILES, ids=named)
def test_plugins_import_layers_one_and_two_only(path: Path) -> None:
    inside = {part(name) for name in imports(path, at_import_only=False) if name.startswith("omnikit.")}
    assert not {name for name in inside if LAYER.get(name, 0) > 2}


def test_omnikit_contains_no_model() -> None:
    known = {folder.name for folder in PLUGINS}
    found = {name for path in FILES for name in imports(path, at_import_only=False) if name.partition(".")[0] in known}
    assert not found


def test_list_imports_no_torch() -> None:
    command = [sys.executable, "-X", "importtime", "-m", "omnikit.cli", "list"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    lines = [line for line in done.stderr.splitlines() if line.startswith("import time:")]
    loaded = {line.rpartition("|")[2].strip().partition(".")[0] for line in lines}
    assert "whisper" in done.stdout and "omnikit" in loaded
    assert not loaded & {"torch", "transformers", "pytorch_lightning", "lightning", "numpy", "hydra"}
