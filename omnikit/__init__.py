"""omnikit: one YAML composes encoders, projectors, a language model and heads into a model that trains and talks.

Three lines from Python:
    model = omnikit.load("runs/llama_omni/tiny/latest")
    answer = model.answer(audio="question.wav")
    answer.save("answer.wav"); print(answer.text)

Importing this package imports neither torch nor hydra: the names below are resolved at their first use.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from omnikit.inference.session import build as build
    from omnikit.inference.session import load as load
    from omnikit.recipe.compose import compose as compose

__version__ = "0.1.0"
__all__ = ["build", "compose", "load"]

_HOMES = {"compose": "omnikit.recipe.compose", "build": "omnikit.inference.session", "load": "omnikit.inference.session"}


def __getattr__(name: str) -> object:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'omnikit' has no attribute {name!r}")
