"""Stages that fit one codec alone: its units (`objective: units`), how it speaks them (`vocoder`), or both (`codec`). Each
mismatch becomes one sentence."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

from omnikit.contracts.configs import CodecConfig, ReaderConfig
from omnikit.contracts.optional import codec_options
from omnikit.errors import nearest
from omnikit.plan.branches import OutputBranch

if TYPE_CHECKING:
    from omnikit.plan.stage_plan import StagePlan

VOCODER_LOSSES = ("stft", "mel", "duration", "adversarial", "feature_matching")
CODEC_LOSSES = ("waveform", "mel", "stft", "codebook", "commitment", "adversarial", "feature_matching")


def check_codec(where: str, plan: StagePlan, outputs: Mapping[str, OutputBranch], readers: Mapping[str, ReaderConfig],
                errors: list[str]) -> None:
    """Hold a stage that fits a codec against what the codec offers and what the datasets hold."""
    objective = plan.stage.objective
    if plan.stage.train and not plan.trained:  # it names no part of this model, which has its own sentence
        return
    codecs = {f"{name}.codec": output.codec for name, output in outputs.items() if output.codec}
    codecs |= {f"{name}.units": output.units for name, output in outputs.items() if output.units}
    if len(plan.trained) != 1 or plan.trained[0] not in codecs:
        errors.append(f"{where}.objective is {objective}, which fits one codec alone, but train names"
                      f" {', '.join(plan.trained) or 'nothing'};"
                      f" name one of {', '.join(codecs) or 'none (there is no codec)'}.")
        return
    codec = codecs[plan.trained[0]]
    offered = codec.objectives
    if objective not in offered:
        errors.append(f"{where}.objective is {objective}, but {plan.trained[0]} offers"
                      f" {', '.join(offered) or 'no objective of its own (it comes with its weights)'}.")
    need = ("speech", "audio") if objective == "codec" else ("speech",)
    for name in plan.datasets:
        if not set(need) & set(readers[name].provides):
            errors.append(f"{where} needs rows with {' or '.join(need)}, but dataset {name} gives"
                          f" {', '.join(readers[name].provides)}.")
    if objective == "vocoder" and "vocoder" in offered:
        _check_vocoder(where, plan, outputs[plan.trained[0].partition(".")[0]], errors)
    if objective == "codec" and "codec" in offered:
        _check_losses(where, plan, "codec", CODEC_LOSSES, errors)
        if not {"waveform", "mel", "stft"} & set(plan.stage.loss):
            errors.append(f"{where}.loss weighs no loss on waveforms; write for example"
                          " {mel: 1.0, stft: 1.0, commitment: 0.25}.")
        _check_codebook(where, plan, codec_options(codec).averages, errors)


def check_fitted(where: str, plan: StagePlan, output: OutputBranch, errors: list[str]) -> None:
    """Append a sentence if a stage needs codes from a part that no stage before it has fitted."""
    codec = output.code_source
    objective = next((name for name in ("units", "codec") if codec and name in codec.objectives), None)
    given = objective == "codec" and _has_weights(codec)
    if output.code_source_part and objective and not given and output.code_source_part not in plan.origins:
        slot = output.code_source_part.rpartition(".")[2]
        errors.append(f"{where} needs {output.code_source_part}, which no earlier stage has fitted; add a stage with"
                      f" objective: {objective} and train: {{{output.name}: {{{slot}: full}}}} before it.")


def _has_weights(codec: CodecConfig | None) -> bool:
    return codec is not None and codec_options(codec).weights is not None


def _check_vocoder(where: str, plan: StagePlan, output: OutputBranch, errors: list[str]) -> None:
    part, losses = plan.trained[0], plan.stage.loss
    if output.units is None:
        errors.append(f"{where} trains {part} on the codes of waves, but nothing makes them; pick what does with"
                      f" +{output.name}/units=<preset>.")
    check_fitted(where, plan, output, errors)
    _check_losses(where, plan, "vocoder", VOCODER_LOSSES, errors)
    if not {"stft", "mel", "adversarial"} & set(losses):
        errors.append(f"{where}.loss weighs no loss on waveforms; write for example"
                      f" {{stft: 1.0, mel: 1.0{', duration: 1.0' if output.codes and output.codes.merged else ''}}}.")
    merged, given = bool(output.codes and output.codes.merged), _has_weights(output.codec)
    if "duration" in losses and not merged:
        errors.append(f"{where}.loss.duration is never read: {part} merges no runs; take it out.")
    if losses and "duration" not in losses and merged and part not in plan.origins and not given:
        errors.append(f"{where}.loss lacks duration, so {part} would never learn how long a code lasts; add duration: 1.0.")


def _check_codebook(where: str, plan: StagePlan, averages: bool | None, errors: list[str]) -> None:
    """Hold the loss that moves codes against what moves them; None: the codec does not say."""
    weighed, part = "codebook" in plan.stage.loss, plan.trained[0]
    if averages and weighed:
        errors.append(f"{where}.loss.codebook moves nothing: the codes of {part} are moving averages; take it out.")
    if averages is False and not weighed:
        errors.append(f"{where}.loss lacks codebook, so the codes of {part} would stay where they are; add codebook: 1.0.")


def _check_losses(where: str, plan: StagePlan, word: str, known: tuple[str, ...], errors: list[str]) -> None:
    for name, weight in plan.stage.loss.items():
        if name not in known:
            errors.append(f"{where}.loss.{name} is no loss of a {word}.{nearest(name, known)} There is: {', '.join(known)}.")
        elif not 0 < weight < math.inf:
            errors.append(f"{where}.loss.{name} is {weight:g}, but must be above 0, or 0 to leave it out.")
