"""Fills the templates of a kind and writes them as a distribution that can be installed and tested."""

from __future__ import annotations

import ast
import builtins
import re
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.resources import files
from importlib.util import find_spec
from keyword import iskeyword
from pathlib import Path

from omnikit import registry
from omnikit.contracts import VERSION
from omnikit.contracts.specs import KINDS
from omnikit.errors import ConfigError, nearest
from omnikit.store.files import atomic_folder

NAME = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")
SIZED = ("encoder", "projector", "backbone", "head", "codec")  # kinds with a preset of a small size
TORCH, NUMPY = "torch>=2.6,<3", "numpy>=1.26"
NEEDED = dict.fromkeys(SIZED, TORCH) | {"tts": NUMPY, "vad": NUMPY, "importer": "safetensors>=0.5"}
SMALL = {"encoder": "dim=16", "projector": "hidden=16", "backbone": "dim=16", "head": "factor=5", "codec": "cardinality=32"}
FACTS = {
    "encoder": "16 kHz audio to features at 50 Hz; it needs no look-ahead beyond a frame and streams exactly.",
    "projector": "Joins two features: half the encoder's rate.",
    "backbone": "Causal; the template's tokenizer and special tokens are those of the preset.",
    "head": "Emits units of a codec with one codebook whose runs are merged.",
    "codec": "16 kHz, 50 frames a second, one codebook of 256 codes.",
    "reader": "Rows of text; no media.",
    "importer": "Reads and writes a folder of two files.",
    "tts": "16 kHz, two voices, the same samples each time.",
    "vad": "Frames of 512 samples at 16 kHz; no weights.",
    "normaliser": "English; digits one by one.",
    "builder": "Synthetic; nothing is downloaded."}
SLOTS = {"encoder": "audio/encoder={name}", "projector": "audio/projector={name}", "backbone": "backbone={name}",
         "head": "speech/head={name}", "codec": "speech/codec={name}"}


@dataclass(frozen=True)
class NewPlugin:
    """A plugin that is to be written.

    Args:
        kind: of its component.
        name: of its component, in lower case with underscores.

    Raises:
        ConfigError: the kind is unknown, or the name is no name, is used by something installed, or hides another class.
    """

    kind: str
    name: str

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ConfigError(f"{self.kind!r} is not a kind of component.{nearest(self.kind, KINDS)} There is:"
                              f" {', '.join(KINDS)}.")
        if not NAME.fullmatch(self.name) or iskeyword(self.name):
            raise ConfigError(f"{self.name!r} cannot be the name of a component; take lower-case words joined by underscores,"
                              " as in acme_beats.")
        if published := registry.components(self.kind).get(self.name):
            raise ConfigError(f"{self.kind} {self.name!r} is already published by {published[0].package}; take another name.")
        if preset := next(filter(None, (registry.preset(self.kind, each) for each in (self.name, self.preset) if each)), None):
            raise ConfigError(f"{preset.name!r} is a preset of {preset.package} already; take another name.")
        self._check_names()

    def _check_names(self) -> None:
        """Raise ConfigError where a name of it stands for something else here."""
        if _is_installed(self.distribution):
            raise ConfigError(f"A package {self.distribution} is installed, which the new one would replace; take another"
                              " name.")
        if find_spec(self.package) is not None:
            raise ConfigError(f"A Python package {self.package} is installed, which the new one would hide; take another name.")
        for path, content in self.files().items():
            if path.endswith(".py") and (hidden := _hidden_names(content)):
                raise ConfigError(f"{self.name!r} makes a class {hidden[0]}, which would hide another {hidden[0]} that"
                                  f" {path} uses; take another name.")

    @property
    def distribution(self) -> str:
        """Its name for pip."""
        return f"omnikit-{self.name.replace('_', '-')}"

    @property
    def package(self) -> str:
        """Its name for Python."""
        return f"omnikit_{self.name}"

    @property
    def preset(self) -> str | None:
        """Its preset of a small size; None for a kind without sizes."""
        return f"{self.name}_tiny_random" if self.kind in SIZED else None

    def files(self) -> dict[str, str]:
        """Give path → content."""
        common, own = "common", self.kind
        test = "test_conformance.py.jinja"
        found = {
            "pyproject.toml": (common, "pyproject.toml.jinja"), "README.md": (common, "README.md.jinja"),
            ".github/workflows/test.yml": (common, "test.yml.jinja"),
            f"{self.package}/config.py": (own, "config.py.jinja"),
            "tests/test_conformance.py": (own if _template(own, test).is_file() else common, test)}
        if _template(own, "model.py.jinja").is_file():
            found[f"{self.package}/model.py"] = own, "model.py.jinja"
        if self.preset:
            found[f"{self.package}/conf/{self.kind}/{self.preset}.yaml"] = own, "preset.yaml.jinja"
        filled = {path: self._filled(*template) for path, template in found.items()}
        empty = {f"{self.package}/__init__.py": f'"""{self.description}"""\n', f"{self.package}/py.typed": ""}
        return filled | empty | ({f"{self.package}/conf/__init__.py": ""} if self.preset else {})

    @property
    def description(self) -> str:
        """What it is, in one sentence."""
        return f"{_article(self.kind)} {self.kind} for omnikit: {self.name}."

    def write(self, folder: Path) -> Path:
        """Write the distribution into a folder of its name inside `folder`; give that.

        Raises:
            ConfigError: there is one already.
        """
        target = folder / self.distribution
        if target.exists():
            raise ConfigError(f"{target} exists already; take another name or --dir, or remove it.")
        folder.mkdir(parents=True, exist_ok=True)
        with atomic_folder(target) as partial:
            for path, content in self.files().items():
                (partial / path).parent.mkdir(parents=True, exist_ok=True)
                (partial / path).write_text(content, encoding="utf-8")
        return target

    def _filled(self, room: str, name: str) -> str:
        import jinja2

        major, minor = version("omnikit").split(".")[:2]
        needs = [f"omnikit>={major}.{minor},<{major}.{int(minor) + 1}", *([NEEDED[self.kind]] if self.kind in NEEDED else [])]
        environment = jinja2.Environment(keep_trailing_newline=True, undefined=jinja2.StrictUndefined, autoescape=False)
        return environment.from_string(_template(room, name).read_text(encoding="utf-8")).render(
            kind=self.kind, name=self.name, cls="".join(word.capitalize() for word in self.name.split("_")),
            package=self.package, distribution=self.distribution, preset=self.preset, article=_article(self.kind),
            interface=VERSION, dependencies=str(needs).replace("'", '"'), small=SMALL.get(self.kind, ""),
            facts=FACTS[self.kind], use=self.use())

    def use(self) -> str:
        """Give the override that picks it in a recipe; "" for a kind that is not a slot."""
        return SLOTS.get(self.kind, "").format(name=self.preset or self.name)


def _is_installed(distribution: str) -> bool:
    try:
        version(distribution)
    except PackageNotFoundError:
        return False
    return True


def _hidden_names(source: str) -> list[str]:
    """Give the names that a file would use for two things: its own classes, what it imports, and what Python has."""
    tree = ast.parse(source)
    own = {node.name for node in tree.body if isinstance(node, ast.ClassDef)}
    imported: dict[str, set[str]] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            for alias in node.names:
                imported.setdefault(alias.asname or alias.name, set()).add(getattr(node, "module", None) or alias.name)
    twice = {name for name, modules in imported.items() if len(modules) > 1}
    return sorted(twice | own & (set(imported) | set(dir(builtins))))


def _article(kind: str) -> str:
    return "An" if kind[0] in "aeiou" else "A"


def _template(room: str, name: str) -> Path:
    return Path(str(files("omnikit.scaffold"))) / "templates" / room / name
