"""Checks of a component before it is built: what its light module imports, its fields, its documentation, its licence."""

import inspect
import os
import pickle
import re
import subprocess
import sys
from functools import cache
from importlib.metadata import PackageNotFoundError, distribution
from textwrap import dedent

from omnikit.recipe.schema import construct, plain
from omnikit.testing.check import MODULES, Check
from omnikit.testing.probe import Probe
from omnikit.testing.results import CheckFailure, NotApplicable

HEAVY = ("torch", "torchaudio", "transformers", "lightning", "pytorch_lightning", "numpy", "scipy")
IMPORTED = ("import importlib, sys; importlib.import_module(sys.argv[1]);"
            f" print(*(name for name in {HEAVY} if name in sys.modules))")
SECONDS = 120  # that the import of a light module may take on a busy machine
SHAPE = re.compile(r"\[(?:[A-Z]\w*'?|[a-z_]+|\d+|…|\.\.\.)(?:, ?[^\[\],]+)*,?\]")  # [B, T, D]


def light_module(probe: Probe) -> None:
    """Its light module, imported alone in a process, loads no torch and nothing as heavy."""
    loaded = _loaded(probe.component.module)
    if loaded:
        raise CheckFailure(f"importing {probe.component.module} imports {', '.join(loaded)}, but `check` and `list` import it;"
                           " move that import into `build`")


@cache
def _loaded(module: str) -> tuple[str, ...]:
    """Give which heavy packages are there once a module is imported in a process of its own."""
    paths = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    done = subprocess.run([sys.executable, "-c", IMPORTED, module], capture_output=True, text=True, env=paths, timeout=SECONDS)
    if done.returncode:
        last = done.stderr.strip().rpartition("\n")[2]
        raise CheckFailure(f"{module} cannot be imported in a process of its own: {last}")
    return tuple(done.stdout.split())


def fields_from_yaml(probe: Probe) -> None:
    """Its fields, written as YAML holds them, make the same configuration again."""
    errors: list[str] = []
    values = plain(probe.config)
    if strange := sorted(name for name, value in values.items() if not _in_yaml(value)):
        raise CheckFailure(f"its field {strange[0]} holds {values[strange[0]]!r}, which YAML cannot; let every field hold"
                           " numbers, texts, lists, mappings or null")
    found = construct(type(probe.config), values, probe.component.name, errors)
    if errors:
        raise CheckFailure(f"its own fields are refused: {errors[0]}")
    if found != probe.config:
        raise CheckFailure(f"its fields give {found}, but it is {probe.config}; let every field hold what YAML can")


def _in_yaml(value: object) -> bool:
    if isinstance(value, dict):
        return all(isinstance(key, str) and _in_yaml(inner) for key, inner in value.items())
    if isinstance(value, list | tuple):
        return all(map(_in_yaml, value))
    return value is None or isinstance(value, bool | int | float | str)


def pickles(probe: Probe) -> None:
    """Its configuration survives pickle, by which worker processes get it."""
    try:
        found = pickle.loads(pickle.dumps(probe.config))
    except Exception as error:  # whatever its class raises is the reason
        raise CheckFailure(f"its configuration cannot be pickled: {type(error).__name__}: {error}") from error
    if found != probe.config:
        raise CheckFailure("its configuration is another one after it was pickled")


def documented(probe: Probe) -> None:
    """Its class and its light module state in a sentence what it is."""
    cls = type(probe.config)
    text = vars(cls).get("__doc__") or ""
    if not text or text.startswith(f"{cls.__name__}("):  # what dataclass writes where there is none
        raise CheckFailure(f"{cls.__name__} has no docstring, but `show` prints it; state in a sentence what the component is")
    if not dedent(text).strip().partition("\n")[0].rstrip().endswith("."):
        raise CheckFailure(f"the docstring of {cls.__name__} must begin with one sentence in one line, ended by a period")
    if not (inspect.getmodule(cls) or sys).__doc__:
        raise CheckFailure(f"{cls.__module__} has no docstring; state in a sentence what the module holds")


def shapes_documented(probe: Probe) -> None:
    """The class of its module, one of its methods or its file states the shape of a tensor, as in [B, T, D]."""
    cls = type(probe.module)
    if not any(SHAPE.search(text) for text in _docstrings(cls)):
        raise CheckFailure(f"no docstring of {cls.__module__}.{cls.__name__} states the shape of what it takes or gives; write"
                           " it as in: features [B, T, D]")


def _docstrings(cls: type) -> list[str]:
    """Give the docstrings of a class and its bases, of their methods, and of its file."""
    bases = [base for base in cls.__mro__ if base.__module__.partition(".")[0] not in ("torch", "builtins")]
    methods = [member for base in bases for name, member in vars(base).items()
               if inspect.isfunction(member) and not name.startswith("_")]
    found = [vars(base).get("__doc__") for base in bases] + [inspect.getdoc(method) for method in methods]
    return [text for text in (*found, (inspect.getmodule(cls) or sys).__doc__) if text]


def licence(probe: Probe) -> None:
    """The package that publishes it states its licence."""
    entry = probe.component.entry
    if entry is None:
        raise NotApplicable("it is not published by an installed package")
    try:
        metadata = distribution(entry.package).metadata
    except PackageNotFoundError:
        raise NotApplicable(f"the metadata of {entry.package} cannot be found") from None
    stated = [value for key in ("License-Expression", "License") for value in metadata.get_all(key) or ()]
    classifiers = [value for value in metadata.get_all("Classifier") or () if value.startswith("License ::")]
    if not any(stated) and not classifiers:
        raise CheckFailure(f"the package {entry.package} states no licence; set license in its pyproject.toml, as in"
                           ' license = "Apache-2.0"')


CHECKS = (
    Check("light_module", light_module),
    Check("fields_from_yaml", fields_from_yaml),
    Check("pickles", pickles),
    Check("documented", documented),
    Check("licence", licence),
    Check("shapes_documented", shapes_documented, MODULES, needs=("builds",)),
)
