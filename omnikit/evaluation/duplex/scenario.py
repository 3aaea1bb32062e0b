"""Scripted conversations: what the user's microphone takes, one element after another."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml

from omnikit.errors import ConfigError
from omnikit.evaluation.duplex.variants import expanded
from omnikit.recipe.yaml_text import parse_yaml

SPOKEN = ("query", "fragment", "interruption", "backchannel", "statement", "side_talk", "second_speaker")
FORMULA = ("cough", "keyboard", "noise")
QUIET = ("silence", "pause")
ADDRESSED = ("query", "interruption")  # what must be answered
IGNORED = ("backchannel", "statement", "side_talk", "second_speaker", *FORMULA)  # must neither be answered nor stop an answer
TASKS = ("smooth_turn_taking", "pause_handling", "backchannel", "user_interruption",  # Full-Duplex-Bench v1
         "user_backchannel", "talking_to_other", "background_speech")  # v1.5
COUGH_SECONDS = 0.45


@dataclass(frozen=True)
class Element:
    """A piece of the user's track.

    Args:
        kind: "query" and "interruption" must be answered, a "fragment" is the beginning of the query that follows it, "pause"
            is silence inside a query; see IGNORED for what must be ignored.
        text: what is spoken.
        seconds: duration of silence, noise and typing.
        voice: of the text-to-speech; None: the scenario's.
        level: dB of full scale (root mean square).
        during_answer: it begins when so many seconds of an answer were played; None: where the previous element ends.
        with_previous: it begins together with the previous element and is mixed into it.
    """

    kind: str
    text: str = ""
    seconds: float = 0.0
    voice: str | None = None
    level: float = -23.0
    during_answer: float | None = None
    with_previous: bool = False

    def __post_init__(self) -> None:
        if self.kind not in (*SPOKEN, *FORMULA, *QUIET):
            raise ValueError(f"kind is {self.kind!r}, but must be one of {', '.join((*SPOKEN, *FORMULA, *QUIET))}")
        if (self.kind in SPOKEN) != bool(self.text.strip()):
            raise ValueError(f"text is {self.text!r}, but {self.kind} {'needs one' if self.kind in SPOKEN else 'has none'}")
        if self.kind in SPOKEN or self.kind == "cough":
            return
        if not 0 < self.seconds <= 600:
            raise ValueError(f"seconds is {self.seconds:g}, but {self.kind} needs more than 0 and at most 600")

    @property
    def addressed(self) -> bool:
        """Whether it must be answered."""
        return self.kind in ADDRESSED


@dataclass(frozen=True)
class Scenario:
    """A conversation.

    Args:
        task: of Full-Duplex-Bench, by which it is scored beside the exact times; "" for none.
        voice: of the user.
        echo: dB by which the answer's audio comes back through the microphone; None: it does not.
        room: dB of full scale of noise under all of the user's audio; None: there is none.
        group: the scenario of which it is a variant; "" for none.
    """

    id: str
    track: tuple[Element, ...]
    task: str = ""
    about: str = ""
    voice: str = "en-us+f3"
    echo: float | None = None
    room: float | None = None
    group: str = ""

    def __post_init__(self) -> None:
        if not self.id.replace("_", "").replace("-", "").isalnum():
            raise ValueError(f"id is {self.id!r}, but names a folder, so it must consist of letters, digits, - and _")
        if self.task not in ("", *TASKS):
            raise ValueError(f"task is {self.task!r}, but must be one of {', '.join(TASKS)}, or left out")
        if not self.track:
            raise ValueError("track is empty, but needs an element")
        if self.track[0].with_previous:
            raise ValueError("track begins with an element that is with_previous, but there is none before it")

    @property
    def silent(self) -> bool:
        """Whether the user gives nothing but silence."""
        return all(element.kind in QUIET for element in self.track)


def read(path: Path | None = None, variants: int | None = None) -> list[Scenario]:
    """Give the scenarios of a YAML file, and at most so many variants of each; None: those of the package, all variants.

    Raises:
        ConfigError: it cannot be read, or a scenario has an unknown field or an impossible value.
    """
    name = str(path) if path else "scenarios.yaml"
    try:
        text = (path or files("omnikit.evaluation.duplex").joinpath("scenarios.yaml")).read_text(encoding="utf-8")
        content = parse_yaml(text)
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise ConfigError(f"{name} cannot be read as scenarios: {' '.join(str(error).split())}.") from None
    listed = content.get("scenarios") if isinstance(content, Mapping) else None
    if not isinstance(listed, list) or not listed:
        raise ConfigError(f"{name} has no list of scenarios; begin it with `scenarios:` and a list of id and track.")
    found = [_scenario(one, where) for number, whole in enumerate(listed) for where in [f"{name}: scenarios[{number}]"]
             for one in (expanded(whole, where, variants) if isinstance(whole, Mapping) else [whole])]
    names = [one.id for one in found]
    if again := next((one for one in names if names.count(one) > 1), None):
        raise ConfigError(f"{name} has two scenarios with the id {again}; rename one.")
    return found


def _scenario(content: object, where: str) -> Scenario:
    values = _values(content, Scenario, where)
    track = values.get("track")
    if not isinstance(track, list):
        raise ConfigError(f"{where}.track is {track!r}, but must be a list of elements.")
    elements = tuple(_made(Element, _values(one, Element, f"{where}.track[{number}]"), f"{where}.track[{number}]")
                     for number, one in enumerate(track))
    made = _made(Scenario, {**values, "track": elements}, where)
    assert isinstance(made, Scenario), "of its own class"
    return made


def _values(content: object, kind: type[Scenario] | type[Element], where: str) -> dict[str, Any]:
    known = [one.name for one in fields(kind) if one.name != "group" or (isinstance(content, Mapping) and "group" in content)]
    if not isinstance(content, Mapping):
        raise ConfigError(f"{where} is {content!r}, but must be a mapping with {', '.join(known)}.")
    if unknown := [str(name) for name in content if name not in known]:
        raise ConfigError(f"{where}.{unknown[0]} is unknown; there are {', '.join(known)}.")
    return dict(content)


def _made(kind: type[Scenario] | type[Element], values: dict[str, Any], where: str) -> Any:
    try:
        return kind(**values)
    except (TypeError, ValueError, AttributeError) as error:
        raise ConfigError(f"{where}: {error}.") from None
