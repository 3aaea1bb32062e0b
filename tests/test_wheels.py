"""What is shipped: every package and YAML is in a wheel, and the wheels run beside hydra-core alone."""

import os
import shutil
import subprocess
import sys
import tomllib
from importlib.metadata import distribution
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import pytest

ROOT = Path(__file__).parents[1]
PLUGINS = sorted(path.parent for path in (ROOT / "plugins").glob("*/pyproject.toml"))
PROJECTS = [ROOT, *PLUGINS]
RECIPES = sorted(f"{path.parent.name}/{path.stem}" for path in (ROOT / "recipes").glob("*/*.yaml"))
HYDRA = ("hydra-core", "omegaconf", "antlr4-python3-runtime", "PyYAML", "packaging")


def project(folder: Path) -> dict[str, Any]:
    return tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))


def packages(folder: Path) -> set[str]:
    """Give the packages that a project's folders are: those with an __init__.py."""
    tops = [folder / "omnikit"] if folder == ROOT else list(folder.glob("omnikit_*"))
    found = {".".join(path.parent.relative_to(folder).parts) for top in tops for path in top.rglob("__init__.py")}
    return found | ({"omnikit.conf", "omnikit.recipes"} if folder == ROOT else set())


def named(folder: Path) -> str:
    return folder.name if folder != ROOT else "omnikit"


@pytest.mark.parametrize("folder", PROJECTS, ids=named)
def test_every_package_is_listed(folder: Path) -> None:
    assert set(project(folder)["tool"]["setuptools"]["packages"]) == packages(folder)


@pytest.mark.parametrize("folder", PROJECTS, ids=named)
def test_every_folder_of_code_is_a_package(folder: Path) -> None:
    tops = [folder / "omnikit"] if folder == ROOT else list(folder.glob("omnikit_*"))
    assert [path for top in tops for path in top.rglob("*.py") if not (path.parent / "__init__.py").exists()] == []


@pytest.mark.parametrize("folder", PLUGINS, ids=named)
def test_a_plugin_is_named_for_its_folder_and_complete(folder: Path) -> None:
    facts = project(folder)["project"]
    assert facts["name"] == f"omnikit-{folder.name.replace('_', '-')}"
    assert facts["license"] == ("GPL-3.0-or-later" if folder.name == "espeak" else "Apache-2.0")
    assert (folder / "README.md").is_file() and list(folder.glob("omnikit_*/py.typed")) and list(folder.glob("tests/test_*.py"))


def test_all_names_every_plugin_in_the_tree() -> None:
    facts = project(ROOT)["project"]
    extras, name = facts["optional-dependencies"], facts["name"]
    wanted, found = ["all"], set()
    while wanted:
        for requirement in extras[wanted.pop()]:
            if requirement.startswith(f"{name}["):
                wanted += requirement.removeprefix(f"{name}[").rstrip("]").split(",")
            else:
                found.add(requirement)
    ours = {requirement for requirement in found if requirement.startswith(f"{name}-")}
    assert ours == {"{name}=={version}".format(**project(folder)["project"]) for folder in PLUGINS}


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Wheels of omnikit and all plugins, built from a copy of the tree."""
    copy, out = tmp_path_factory.mktemp("tree") / "omnikit", tmp_path_factory.mktemp("wheels")
    left_out = shutil.ignore_patterns(".*", "*.egg-info", "__pycache__", "runs", "site", "tests", "docs", "benchmarks")
    shutil.copytree(ROOT, copy, ignore=left_out)
    for folder in [path.parent / "build" for path in copy.glob("**/pyproject.toml")]:  # what an earlier build left there
        shutil.rmtree(folder, ignore_errors=True)
    folders = [copy, *(copy / "plugins" / folder.name for folder in PLUGINS)]
    command = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-index", "--no-build-isolation", "-w", str(out)]
    subprocess.run([*command, *map(str, folders)], check=True, capture_output=True)
    return out


@pytest.fixture(scope="module")
def clean(wheels: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder to import from: the wheels, and hydra-core with what it needs; no torch."""
    site = tmp_path_factory.mktemp("clean")
    command = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-index", "--no-compile", "--target", str(site)]
    subprocess.run([*command, *map(str, wheels.glob("*.whl"))], check=True, capture_output=True)
    for name in HYDRA:
        files = distribution(name).files or []
        for top in {file.parts[0] for file in files} - {"..", "__pycache__"}:
            (site / top).symlink_to(str(distribution(name).locate_file(top)))
    return site


def data_files(folder: Path) -> set[str]:
    """Give the YAML, JSON, pages and page templates that a project ships, as named in its wheel."""
    tops = [ROOT / "conf", ROOT / "recipes"] if folder == ROOT else list(folder.glob("omnikit_*"))
    found = {path.relative_to(folder) for top in tops for path in top.rglob("*.*") if path.suffix in (".yaml", ".json", ".md")}
    pages = {str(path.relative_to(folder)) for path in (folder / "omnikit").rglob("*.jinja")}
    return {f"omnikit/{path}" if folder == ROOT else str(path) for path in found} | pages


def run(site: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run Python outside the clone with nothing but `site` to import from."""
    environment = {"PYTHONPATH": str(site), "HOME": str(site), "PATH": os.defpath}
    command = [sys.executable, "-S", *words]
    return subprocess.run(command, cwd=site, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_the_wheel_holds_every_package_and_yaml(wheels: Path) -> None:
    for folder in PROJECTS:
        wheel, = wheels.glob(f"{project(folder)['project']['name'].replace('-', '_')}-0*.whl")
        shipped = set(ZipFile(wheel).namelist())
        assert {f"{package.replace('.', '/')}/__init__.py" for package in packages(folder)} <= shipped
        assert data_files(folder) <= shipped, data_files(folder) - shipped
        assert not any(name.startswith(("tests/", "docs/")) for name in shipped)


@pytest.mark.slow
def test_the_clean_environment_has_no_torch(clean: Path) -> None:
    assert "No module named 'torch'" in run(clean, "-c", "import torch").stderr
    assert run(clean, "-c", "import hydra, omnikit; print(omnikit.__file__)").stdout.startswith(str(clean))


@pytest.mark.slow
@pytest.mark.parametrize("recipe", RECIPES)
def test_check_runs_beside_hydra_alone(clean: Path, recipe: str) -> None:
    done = run(clean, "-m", "omnikit.cli", "check", recipe)
    assert (done.returncode, done.stderr) == (0, "")
    assert f"{recipe} fits together:" in done.stdout


@pytest.mark.slow
def test_list_shows_every_plugin_and_none_is_broken(clean: Path) -> None:
    done = run(clean, "-m", "omnikit.cli", "list")
    assert done.returncode == 0 and "BROKEN" not in done.stdout
    assert all(f" {project(folder)['project']['name']}" in done.stdout for folder in PLUGINS)
