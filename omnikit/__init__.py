"""omnikit: one YAML composes encoders, projectors, a language model and heads into a model that trains and answers.

Three lines from Python:
    session = omnikit.load("llama_omni/tiny")
    answer = session.answer(audio="question.wav")
    answer.save("answer.wav"); print(answer.text)

Importing this package imports neither torch nor hydra: the names below are resolved at their first use.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from omnikit.api import Evaluation as Evaluation
    from omnikit.api import Run as Run
    from omnikit.api import build as build
    from omnikit.api import check as check
    from omnikit.api import compose as compose
    from omnikit.api import evaluate as evaluate
    from omnikit.api import forecast as forecast
    from omnikit.api import inspect as inspect
    from omnikit.api import load as load
    from omnikit.api import train as train
    from omnikit.inference.answer import Answer as Answer
    from omnikit.inference.session import Session as Session
    from omnikit.plan.plan import Plan as Plan
    from omnikit.recipe.recipe import Recipe as Recipe

__version__ = "0.1.0"
__all__ = ["Answer", "Evaluation", "Plan", "Recipe", "Run", "Session", "build", "check", "compose", "evaluate", "forecast",
           "inspect", "load", "train"]

_MODULES = {"Answer": "omnikit.inference.answer", "Session": "omnikit.inference.session", "Plan": "omnikit.plan.plan",
            "Recipe": "omnikit.recipe.recipe"}  # of all others: omnikit.api


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module 'omnikit' has no attribute {name!r}")
    return getattr(import_module(_MODULES.get(name, "omnikit.api")), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
