"""Trained runs for builders of datasets: a model that rewrites texts, a codec that makes codes.

Imports torch only when one is opened: most datasets are built without.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING

from omnikit.contracts.codes import Code
from omnikit.contracts.optional import needs_training
from omnikit.errors import ConfigError
from omnikit.recipe.media import MediaLimits

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from omnikit.contracts.protocols import Codec
    from omnikit.data.batch.codes import Codes
    from omnikit.inference.session import Session
    from omnikit.model import OmniModel
    from omnikit.plan.plan import OutputBranch, Plan


class BuilderRuns:
    """Opens runs by a folder, a link or a recipe's name; a recipe without a run is built with its own weights."""

    def text_generator(self, run: str) -> SessionTextGenerator:
        """Give a run's model as text to text; raises OmnikitError where there is none."""
        from omnikit.inference.session import build, load
        from omnikit.recipe.compose import compose

        return SessionTextGenerator(build(compose(run)) if _is_recipe(run) else load(run))

    def units(self, run: str) -> RunUnits:
        """Give what makes a run's codes.

        Raises:
            RunError: there is no such run, or it is not finished.
            ConfigError: no branch of it makes codes, or it is a recipe whose codec must be trained.
        """
        from omnikit.data.batch.codes import Codes

        plan = _plan(run)
        output = next((output for output in plan.outputs.values() if output.code_source and output.code_source_part), None)
        if output is None or output.code_source is None or output.code_source_part is None:
            raise ConfigError(f"units is {run}, but no branch of {plan.recipe.name} makes codes of waves; name a run with a"
                              " codec that encodes.")
        model = _filled(run, plan, output.code_source_part)
        return RunUnits(Codes(model.units(output.name), output.code_source.spec.sample_rate), _version(model))

    def codec(self, run: str) -> tuple[OutputBranch, Codec]:
        """Give the branch that speaks, with its codec and no other part of the model.

        Raises:
            RunError: there is no such run, or it is not finished.
            ConfigError: no branch of it speaks, or it is a recipe whose codec must be trained.
        """
        plan = _plan(run)
        output = next((output for output in plan.outputs.values() if output.codec and output.codec.decodes), None)
        if output is None or output.codec is None:
            raise ConfigError(f"{run} cannot speak, because {plan.recipe.name} has no speech branch; name a run with a codec.")
        return output, _filled(run, plan, f"{output.name}.codec").codec(output.name)


def media_limits(run: str) -> MediaLimits:
    """Give the limits of media files that a run was made with; raises as BuilderRuns.codec."""
    return _plan(run).recipe.media


class SessionTextGenerator:
    """Asks a session one text after another, greedily; the instructions are the system prompt."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.version = _version(session.model)

    def __call__(self, instructions: str, texts: Sequence[str]) -> list[str]:
        """Give one answer for each text; raises DataError where one is longer than the context."""
        from omnikit.inference.question import question

        asked = [question(text=text, system=instructions, name=text[:40]) for text in texts]
        return [answer.text for answer in self.session.answers(asked, speak=False, greedy=True)]


class RunUnits:
    """The codes of a wave; see omnikit.data.batch.codes."""

    def __init__(self, codes: Codes, version: str) -> None:
        self.codes, self.version, self.sample_rate = codes, version, codes.sample_rate

    def __call__(self, wave: NDArray[np.float32]) -> list[Code]:
        return self.codes(wave)


def _is_recipe(reference: str) -> bool:
    """Say whether a reference is a recipe's file, or the name of a recipe without a run."""
    from omnikit.paths import recipe_files
    from omnikit.store.runs import RUNS

    return reference.endswith((".yaml", ".yml")) or (reference in recipe_files() and not (RUNS / reference).is_dir())


def _plan(reference: str) -> Plan:
    from omnikit.plan.plan import make
    from omnikit.recipe.compose import compose
    from omnikit.store.runs import find, load_plan

    return make(compose(reference)) if _is_recipe(reference) else load_plan(find(reference))


def _filled(run: str, plan: Plan, part: str) -> OmniModel:
    """Give the model of one part alone, with the weights that the run has of it."""
    from omnikit.store.lineage import lineage
    from omnikit.store.load import build_model
    from omnikit.store.runs import find

    folder, config = None if _is_recipe(run) else find(run), plan.parts()[part]
    origins = lineage(plan, folder, parts=[part]) if folder else {}
    if part not in origins and needs_training(config):
        why = f"is a recipe, but its {part} must be trained first" if folder is None else f"never trained its {part}"
        raise ConfigError(f"{run} {why}; name a finished run that did.")
    return build_model(plan, folder, origins, parts=[part]).eval()


def _version(model: OmniModel) -> str:
    """Give 16 hex digits over all weights."""
    from omnikit.store.load import hashes

    return hashlib.sha256("".join(f"{part}{digest}" for part, digest in hashes(model).items()).encode()).hexdigest()[:16]
