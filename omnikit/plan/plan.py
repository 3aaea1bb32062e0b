"""The plan: contracts wired together, every dimension filled in, every mismatch reported at once. No torch, no weights.

    encoder → projector → backbone → head → codec, and for each stage what is trained, on what, from which weights.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from omnikit import registry
from omnikit.contracts.configs import BackboneConfig, ModelDescription, ReaderConfig
from omnikit.contracts.optional import head_options
from omnikit.contracts.specs import ImageSpec, Template
from omnikit.errors import ConfigError, DataError, PlanError
from omnikit.plan.branches import InputBranch, OutputBranch
from omnikit.plan.components import ComponentConfigs
from omnikit.plan.feeding import check_feeding
from omnikit.plan.graph import wire_inputs, wire_outputs
from omnikit.plan.length_checks import check_lengths
from omnikit.plan.resolve import find_reader, find_template, tokenizer_size
from omnikit.plan.stage_plan import StagePlan, Wiring
from omnikit.plan.stages import plan_stages
from omnikit.plan.tables import stages_table, wiring_table
from omnikit.plan.voice_activity import check_vad
from omnikit.recipe.recipe import SLOTS, Recipe
from omnikit.recipe.schema import plain

__all__ = ["InputBranch", "OutputBranch", "Plan", "StagePlan", "make"]


@dataclass(frozen=True)
class Plan:
    """A checked recipe; whatever is built, is built from here."""

    recipe: Recipe
    inputs: dict[str, InputBranch]
    outputs: dict[str, OutputBranch]
    backbone: BackboneConfig | None
    template: Template | None
    tokenizer: str | None
    readers: dict[str, ReaderConfig]
    stages: dict[str, StagePlan]

    def __repr__(self) -> str:
        """Give the wiring and the stages as tables."""
        return f"Plan {self.recipe.name}\n\n{wiring_table(self)}\n{stages_table(self)}".rstrip()

    def _repr_html_(self) -> str:
        """Give the wiring diagram, for notebooks."""
        from omnikit.plan.diagram import draw  # `check` does without

        return draw(self)

    @property
    def image_spec(self) -> ImageSpec | None:
        """How images and videos are cut; None where no branch takes images."""
        return next((input_branch.image_spec for input_branch in self.inputs.values() if input_branch.image_spec), None)

    def parts(self) -> dict[str, Any]:
        """Give part name → its dataclass, in wiring order; a part without parameters is among them."""
        return _parts(self.inputs, self.backbone, self.outputs)

    def described(self, part: str) -> str:
        """Give a part with the plugin that it comes from, for sentences: audio.encoder (whisper of omnikit-whisper)."""
        branch, _, slot = part.partition(".")
        choice = self.recipe.branches.get(branch, {}).get(slot) if slot else self.recipe.backbone
        published = registry.components(SLOTS[slot] if slot else "backbone").get(choice.use, ()) if choice else ()
        origin = f" of {published[0].package}" if published else ""
        return f"{part} ({choice.use}{origin})" if choice else part

    def description(self) -> ModelDescription:
        """Give what a published layout is written from."""
        recipe = self.recipe
        uses = {f"{branch}.{slot}": choice.use for branch, slots in recipe.branches.items() for slot, choice in slots.items()}
        uses |= {"backbone": recipe.backbone.use} if recipe.backbone else {}
        codes = {name: output.codes for name, output in self.outputs.items() if output.codes}
        settings = {"system": recipe.system, "generate": plain(recipe.generate)}
        return ModelDescription(self.parts(), uses, self.template, recipe.template, codes, settings)


def make(recipe: Recipe) -> Plan:
    """Wire a recipe.

    Raises:
        PlanError: parts do not fit together, or a stage asks for what is not there; every mismatch in one go.
    """
    errors: list[str] = []
    if not recipe.branches and recipe.backbone is None:
        errors.append(f"recipe {recipe.name} has no part; pick some in its defaults, for example `- /audio/encoder: whisper`.")
    parts = ComponentConfigs(recipe, errors)
    inputs = wire_inputs(recipe, parts, errors)
    outputs = wire_outputs(recipe, parts, inputs, errors)
    check_feeding(outputs, parts.backbone, errors)
    template = find_template(recipe, parts.backbone, errors)
    tokenizer = _tokenizer(outputs, parts.backbone, errors)
    readers = _readers(recipe, errors)
    broken_model = bool(errors)
    wired = Wiring(inputs, outputs, parts.backbone, readers, tuple(_parts(inputs, parts.backbone, outputs)))
    stage_errors: list[str] = []
    stages = plan_stages(recipe.stages, wired, stage_errors)
    # A part that could not be made would be missed by every stage: only errors about other things are worth reading.
    errors += [e for e in stage_errors if not broken_model or "names no" not in e]
    _check_state_inputs(inputs, outputs, errors)
    check_lengths(inputs, errors)
    _check_context(wired, errors)
    _check_numbers(recipe, errors)
    check_vad(recipe.live, errors)
    if errors:
        raise PlanError(*dict.fromkeys(errors))
    return Plan(recipe, inputs, outputs, parts.backbone, template, tokenizer, readers, stages)


def _parts(inputs: dict[str, InputBranch], backbone: BackboneConfig | None, outputs: dict[str, OutputBranch]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, input_branch in inputs.items():
        found[f"{name}.encoder"] = input_branch.encoder
        if input_branch.projector:
            found[f"{name}.projector"] = input_branch.projector
    if backbone:
        found["backbone"] = backbone
    for name, output in outputs.items():
        found[f"{name}.head"] = output.head
        if output.units:
            found[f"{name}.units"] = output.units
        if output.codec:
            found[f"{name}.codec"] = output.codec
    return found


def _tokenizer(outputs: dict[str, OutputBranch], backbone: BackboneConfig | None, errors: list[str]) -> str | None:
    if backbone is None:
        return next((t for o in outputs.values() if (t := head_options(o.head).tokenizer)), None)
    try:
        size = tokenizer_size(backbone.tokenizer)
    except ConfigError as error:
        errors.append(f"backbone.tokenizer: {error}")
        return None
    if size is not None and size > backbone.vocabulary:
        advice = "give the tokenizer of these weights, backbone.tokenizer=PATH" if getattr(backbone, "weights", None) else (
            f"set backbone.vocabulary={size}")
        errors.append(f"backbone.vocabulary is {backbone.vocabulary}, but tokenizer {backbone.tokenizer!r} has {size} ids;"
                      f" {advice}.")
    return backbone.tokenizer


def _readers(recipe: Recipe, errors: list[str]) -> dict[str, ReaderConfig]:
    """Make the readers of all datasets that the recipe defines, trains on or is evaluated on."""
    wanted = {name: f"data.{name}" for name in recipe.data}
    for stage_name, stage in recipe.stages.items():
        wanted |= {name: f"stages.{stage_name}.data" for name in stage.data if name not in wanted}
        wanted |= {name: f"stages.{stage_name}.validate.data" for name in stage.validate.datasets if name not in wanted}
    wanted |= {name: f"evaluate.data.{title}" for title, name in recipe.evaluate.data.items() if name not in wanted}
    made = {name: find_reader(name, recipe.data.get(name), where, errors) for name, where in wanted.items()}
    return {name: reader for name, reader in made.items() if reader is not None}


def _check_numbers(recipe: Recipe, errors: list[str]) -> None:
    if not 0 <= recipe.seed < 2**32:
        errors.append(f"seed is {recipe.seed}, but must be at least 0 and below {2**32}.")
    generate = recipe.generate
    if generate.max_new_tokens < 1:
        errors.append(f"generate.max_new_tokens is {generate.max_new_tokens}, but must be at least 1.")
    if generate.speak_after is not None and generate.speak_after < 1:
        errors.append(f"generate.speak_after is {generate.speak_after}, but must be at least 1; null waits for the end of the"
                      " sentence.")
    if not 0 <= generate.temperature < math.inf:  # false for nan
        errors.append(f"generate.temperature is {generate.temperature:g}, but must be a finite number, at least 0.")
    if not 0 < generate.top_p <= 1:
        errors.append(f"generate.top_p is {generate.top_p:g}, but must be above 0 and at most 1.")
    if generate.top_k < 0:
        errors.append(f"generate.top_k is {generate.top_k}, but must be at least 0, which draws among all tokens.")


def _check_state_inputs(inputs: dict[str, InputBranch], outputs: dict[str, OutputBranch], errors: list[str]) -> None:
    """Refuse heads that predict the state of questions which no branch takes."""
    for name, output in outputs.items():
        input_branch = inputs.get(output.state_input)
        if output.head.target == "state" and (input_branch is None or input_branch.encoder.input.modality != "audio"):
            audio = [branch for branch, other in inputs.items() if other.encoder.input.modality == "audio"]
            errors.append(f"{name}.head predicts states of the questions that branch {output.state_input!r} takes, but"
                          f" {'that branch takes no audio' if input_branch else 'there is no such input branch'}; "
                          + (f"set {name}.head.branch={audio[0]}." if audio else "add a branch for audio, or leave"
                             f" {name} out."))


def _check_context(wired: Wiring, errors: list[str]) -> None:
    """Refuse datasets whose longest question alone fills the backbone's context."""
    if wired.backbone is None:
        return
    for name, reader in wired.readers.items():
        for branch, input_branch in wired.inputs.items():
            modality, rate = input_branch.encoder.input.modality, input_branch.encoder.input.rate
            if modality in reader.provides and reader.seconds is not None and rate is not None and input_branch.projector:
                try:
                    positions = input_branch.length(int(reader.seconds * rate))
                except DataError as error:
                    errors.append(f"data.{name} has questions of {reader.seconds:g} s, which {branch}.encoder cannot take:"
                                  f" {error}")
                    continue
                if positions >= wired.backbone.context:
                    errors.append(f"data.{name} has questions of {reader.seconds:g} s, which branch {branch} turns into"
                                  f" {positions} positions, but backbone.context is {wired.backbone.context}; join more"
                                  f" frames in {branch}.projector, take a longer context or shorter audio.")
