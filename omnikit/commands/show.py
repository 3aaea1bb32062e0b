"""`omnikit show RECIPE [overrides]` prints the wiring; `omnikit show [KIND/]COMPONENT` its fields and contract."""

import inspect
import sys
from argparse import Namespace
from dataclasses import fields
from importlib.metadata import PackageNotFoundError, metadata
from pathlib import Path
from typing import Any

from omnikit import registry
from omnikit.commands.arguments import Parser
from omnikit.commands.list import kind_of
from omnikit.contracts.specs import KINDS
from omnikit.errors import ConfigError, OmnikitError, nearest
from omnikit.paths import recipe_files
from omnikit.recipe import presets
from omnikit.recipe.recipe import SLOTS
from omnikit.recipe.schema import MISSING_VALUE, construct, defaults
from omnikit.text_table import columns

SETTINGS = ("template", "trainer")  # presets that set no component
WIDTH = 60  # characters of a default that are shown
CONTRACTS = {
    "encoder": ("input", "output"),
    "projector": (),
    "backbone": ("dim", "vocabulary", "context", "template", "tokenizer", "specials"),
    "head": ("tap", "target", "alignment"),
    "codec": ("spec", "encodes", "decodes", "objectives"),
    "reader": ("provides", "seconds"),
    "tts": (),
    "vad": ("sample_rate", "frame"),
    "importer": (),
    "builder": (),
    "normaliser": (),
}
OUTPUTS = {"output": "output(source, dim)", "fused_output": "fused_output(sources, dim)",
           "medium_length": "medium_length(medium, count)", "steps": "steps(frames, codebooks)"}  # of projectors and heads


def run(argv: list[str]) -> int:
    """Show a recipe or a component."""
    parser = Parser("omnikit show", description=__doc__)
    parser.add_argument("what", help="a recipe (name or YAML), a run's folder, a component or preset, or KIND/NAME")
    parser.add_argument("overrides", nargs="*", default=[], help="for a recipe: audio/encoder=mel_cnn …")
    parser.add_argument("--parameters", action="store_true", help="count each part's parameters on the meta device")
    parser.add_argument("--diagram", metavar="FILE.svg", help="draw the wiring of a recipe")
    parser.add_argument("--stage", help="with --diagram: mark what this stage trains, leaves frozen and does not run")
    arguments = parser.parse_intermixed_args(argv)
    recipe = arguments.what in recipe_files() or Path(arguments.what, "config.yaml").is_file()  # the latter is a run
    flags = [flag for flag in ("--parameters", "--diagram", "--stage") if getattr(arguments, flag[2:])]
    if arguments.what.endswith((".yaml", ".yml")) or recipe:
        if arguments.stage and not arguments.diagram:
            parser.error("--stage marks parts in a diagram; add --diagram FILE.svg")
        _show_recipe(arguments)
    elif arguments.overrides or flags:
        raise ConfigError(f"{[*arguments.overrides, *flags][0]} is for a recipe, but {arguments.what} is not one; leave it out"
                          " or name a recipe.")
    else:
        sys.stdout.write(_describe(*_find(arguments.what)))
    return 0


def _show_recipe(arguments: Namespace) -> None:
    from omnikit.plan.plan import make
    from omnikit.plan.tables import stages_table, wiring_table
    from omnikit.plan.weights import advice_on_weights
    from omnikit.recipe.compose import compose  # Hydra is for recipes only

    recipe, diagram = arguments.what, arguments.diagram
    plan = make(compose(recipe, arguments.overrides))
    counts = None
    if arguments.parameters:
        from omnikit.store.parameters import parameter_counts  # imports torch

        counts = parameter_counts(plan)
    sys.stdout.write(f"{recipe}\n\n{wiring_table(plan, counts)}\n{stages_table(plan)}")
    if advice := advice_on_weights(plan):
        sys.stdout.write(f"\nBefore training: {advice}\n")
    if diagram:
        from omnikit.plan.diagram import draw

        try:
            Path(diagram).write_text(draw(plan, arguments.stage), encoding="utf-8")
        except OSError as error:
            raise ConfigError(f"--diagram is {diagram}, which cannot be written: {error.strerror};"
                              " choose another file.") from error
        sys.stdout.write(f"\nThe diagram is {diagram}.\n")


def _find(name: str) -> tuple[str, str]:
    """Give (kind, name) of a component or preset that may be written KIND/NAME."""
    kind, slash, rest = name.partition("/")
    if slash and kind in (*KINDS, "data", *SETTINGS):
        if rest not in presets.names(kind):
            raise ConfigError(presets.unknown_name(kind, rest, presets.names(kind)))
        return kind, rest
    known = {kind: presets.names(kind) for kind in KINDS}
    known |= {kind: list(registry.presets(kind)) for kind in ("data", *SETTINGS)}  # a reader is no dataset here
    found = [kind for kind, names in known.items() if name in names]
    if len(found) > 1:
        raise ConfigError(f"{name!r} is {' and '.join(f'{kind}/{name}' for kind in found)}; write which one.")
    if not found:
        listed = kind_of(rest if rest in SLOTS else name)
        if listed and not (slash and kind in KINDS):
            what = f"takes a component of kind {listed}" if slash else "is not a component but a kind of them"
            raise ConfigError(f"{name} {what}: omnikit list {listed} names those that there are.")
        everything = [n for names in known.values() for n in names] + list(recipe_files())
        raise ConfigError(f"component, preset or recipe {name!r} is unknown.{nearest(name, everything)}"
                          " omnikit list names all.")
    return found[0], name


def _describe(kind: str, name: str) -> str:
    if kind in SETTINGS:
        return _describe_settings(kind, name)
    values = presets.preset_fields(kind, name)
    use, kind = values.pop("use"), "reader" if kind == "data" else kind
    cls = registry.component(kind, use)
    entry = registry.components(kind)[use][0]
    head = f"{kind} {name}" + (f", a preset of {use}" if name != use else "")
    lines = [(key, _cut(str(values[key])), _type(cls, key)) for key in defaults(cls)]
    source = inspect.getsourcefile(cls) or "unknown file"
    contract = _contract(kind, cls, values)
    promised = f"contract\n{columns(contract)}\n" if contract else ""
    return (f"{head}\n\n{inspect.cleandoc(cls.__doc__ or '')}\n\nfields\n{columns(lines)}\n{promised}"
            f"package  {entry.package} {entry.version}\nlicence  {_licence(entry.package)}\n"
            f"source   {source}:{inspect.getsourcelines(cls)[1]}\n")


def _describe_settings(kind: str, name: str) -> str:
    preset = registry.preset(kind, name)
    assert preset is not None, "its name was found among the presets"
    lines = [(key, repr(value)) for key, value in presets.read_mapping(preset.path).items()]
    return (f"{kind} {name}\n\n{presets.summary(preset.path)}\n\nfields\n{columns(lines)}\n"
            f"package  {preset.package}\nsource   {preset.path}\n")


def _cut(text: str) -> str:
    return text if len(text) <= WIDTH else f"{text[:WIDTH - 1]}…"


def _type(cls: type[Any], key: str) -> str:
    kind = next(f.type for f in fields(cls) if f.name == key)
    return kind if isinstance(kind, str) else getattr(kind, "__name__", str(kind)) if "[" not in str(kind) else str(kind)


def _contract(kind: str, cls: type[Any], values: dict[str, Any]) -> list[tuple[str, str]]:
    """Give what the component promises with these fields, or why it cannot promise yet."""
    errors: list[str] = []
    made = construct(cls, {k: v for k, v in values.items() if v != MISSING_VALUE}, kind, errors)
    if made is None:
        unset = [key for key, value in values.items() if value == MISSING_VALUE]
        return [("", error) for error in errors] if len(errors) > len(unset) else []  # each unset field is one of them
    lines = []
    for name in CONTRACTS[kind]:
        try:
            lines.append((name, str(getattr(made, name, "none"))))
        except (OmnikitError, ValueError) as error:
            lines.append((name, str(error)))
    lines += [(signature, inspect.getdoc(getattr(cls, name)) or "features of the backbone's hidden size")
              for name, signature in OUTPUTS.items() if kind in ("projector", "head") and hasattr(cls, name)]
    return lines


def _licence(package: str) -> str:
    try:
        facts = metadata(package)
    except PackageNotFoundError:
        return "unknown"
    stated = [facts[key] for key in ("License-Expression", "License") if key in facts]
    return stated[0] if stated else "not stated"
