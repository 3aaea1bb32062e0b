"""A live state as plain values and arrays, and back: one safetensors file, without pickle. Running answers begin again."""

from __future__ import annotations

import json
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from omnikit.contracts.types import ContentPart, Message
from omnikit.errors import RunError
from omnikit.inference.answer import Event, TokenLogprob
from omnikit.inference.answer_usage import AnswerUsage, TokenCounts
from omnikit.inference.live import events
from omnikit.inference.live.items import Reply, UserTurn
from omnikit.inference.live.resampler import ResamplerState
from omnikit.inference.live.speech_segments import SpeechSegments
from omnikit.inference.live.state import LiveState
from omnikit.recipe.live import TurnPolicy

Array = NDArray[Any]
KEY = "live_state"
_EVENTS = (events.SpeechStarted, events.SpeechStopped, events.TurnCommitted, events.TurnDecided, events.TurnsDropped,
           events.SpeculationDiscarded, events.AnswerStarted, events.TextDelta, events.AudioDelta, events.Paused,
           events.Resumed, events.Interrupted, events.Truncated, events.AnswerDone, events.IdleTimeout, events.LiveError)
_CLASSES: dict[str, type] = {cls.__name__: cls for cls in (
    LiveState, TurnPolicy, Reply, UserTurn, Message, ContentPart, Event, TokenLogprob, ResamplerState, SpeechSegments,
    AnswerUsage, TokenCounts,
    *_EVENTS)}


def save(state: LiveState, path: Path) -> None:
    """Write a state to a file; raises RunError where the disk refuses."""
    from safetensors.numpy import save_file

    from omnikit.store.files import disk_errors

    arrays: list[Array] = []
    plain = json.dumps(_plain(state, arrays, {}))
    with disk_errors(path):
        save_file({f"array_{index}": np.ascontiguousarray(array) for index, array in enumerate(arrays)}, path,
                  metadata={KEY: plain})


def load(path: Path) -> LiveState:
    """Read the state of a file; raises RunError where it is not one."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "np") as file:
            plain = json.loads((file.metadata() or {})[KEY])
            found = _object(plain, lambda index: file.get_tensor(f"array_{index}"))
    except (OSError, SafetensorError, ValueError, LookupError, TypeError) as error:
        raise RunError(f"{path} is not the state of a live session ({type(error).__name__}); give a file that save"
                       " wrote.") from error
    if not isinstance(found, LiveState):
        raise RunError(f"{path} holds a {type(found).__name__}, but must hold the state of a live session.")
    return found


def _plain(value: object, arrays: list[Array], seen: dict[int, int]) -> object:
    """Give a value as JSON holds it; an array is its number, each one once."""
    if isinstance(value, np.ndarray):
        if id(value) not in seen:
            seen[id(value)] = len(arrays)
            arrays.append(value)
        return {"array": seen[id(value)]}
    if is_dataclass(value) and not isinstance(value, type):
        return {"class": type(value).__name__,
                "fields": {item.name: _plain(getattr(value, item.name), arrays, seen) for item in fields(value)}}
    if isinstance(value, tuple | list):
        return {type(value).__name__: [_plain(one, arrays, seen) for one in value]}
    if isinstance(value, dict):
        return {"dict": {str(key): _plain(one, arrays, seen) for key, one in value.items()}}
    return value


def _object(value: Any, array: Any) -> Any:
    if not isinstance(value, dict):
        return value
    if "array" in value:
        return array(value["array"])
    if "class" in value:
        return _CLASSES[value["class"]](**{name: _object(one, array) for name, one in value["fields"].items()})
    if "dict" in value:
        return {key: _object(one, array) for key, one in value["dict"].items()}
    made = [_object(one, array) for one in next(iter(value.values()))]
    return tuple(made) if "tuple" in value else made
