"""Components wired by their contracts: who feeds whom, how wide and how fast. Each mismatch becomes one sentence.

Uses no stage and no file; the plan puts wiring and stages together.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from math import isqrt
from pathlib import Path

from omnikit.contracts.configs import CodecConfig, HeadConfig, NormaliserConfig
from omnikit.contracts.optional import head_options
from omnikit.contracts.specs import FeatureSpec
from omnikit.errors import ConfigError, nearest
from omnikit.plan.branches import BACKBONE_TAPS, InputBranch, OutputBranch
from omnikit.plan.components import ComponentConfigs
from omnikit.plan.fusion import check_fusion, embedding_dim, join_sources, projector_output
from omnikit.plan.resolve import tokenizer_size
from omnikit.recipe.branches import BranchOptions, Choice
from omnikit.recipe.recipe import Recipe


def wire_inputs(recipe: Recipe, parts: ComponentConfigs, errors: list[str]) -> dict[str, InputBranch]:
    """Wire each branch that has an encoder."""
    input_branches = {}
    sources = {source for options in recipe.branch_options.values() for source in options.sources}
    for name, slots in recipe.branches.items():
        encoder = parts.get(f"{name}.encoder")
        if "projector" in slots and "encoder" not in slots:
            errors.append(f"{name}.projector has nothing to project: pick an encoder with {name}/encoder=<preset>.")
        if "encoder" in slots and "projector" not in slots and recipe.backbone and name not in sources:
            errors.append(f"{name}.encoder does not reach the backbone: pick a projector with {name}/projector=<preset>.")
        if encoder is not None:
            options = recipe.branch_options.get(name, BranchOptions())
            input_branches[name] = InputBranch(name, encoder, encoder.output, None, None, options.input, options.fusion)
    join_sources(recipe, input_branches, errors)
    for name, branch in input_branches.items():
        input_branches[name] = _projected(branch, parts, errors)
        check_fusion(branch, recipe, parts.backbone, errors)
    for input_branch in input_branches.values():
        errors += _unseen(input_branch)
    _check_inputs(input_branches, errors)
    return input_branches


def _check_inputs(input_branches: dict[str, InputBranch], errors: list[str]) -> None:
    """Refuse two branches of one modality unless one names the other as its input, and names that lead nowhere."""
    own: dict[str, str] = {}  # modality → the branch that reads it
    for name, branch in input_branches.items():
        modality = branch.encoder.input.modality
        if branch.input is None and own.setdefault(modality, name) != name:
            errors.append(f"{own[modality]}.encoder and {name}.encoder both take {modality}; set {name}.input={own[modality]}"
                          f" to let both read each {modality}, or take one of them out of the recipe.")
    for name, branch in input_branches.items():
        modality = branch.encoder.input.modality
        readers = [other for other, found in input_branches.items()
                   if other != name and found.input is None and found.encoder.input.modality == modality]
        if branch.input is not None and branch.input not in readers:
            errors.append(f"{name}.input is {branch.input!r}, but must be a branch with an encoder of {modality} and no `input`"
                          f" of its own: {', '.join(readers) or 'there is none'}.{nearest(branch.input, readers)}")


def wire_outputs(recipe: Recipe, parts: ComponentConfigs, input_branches: dict[str, InputBranch],
                 errors: list[str]) -> dict[str,
                                                                                                                  OutputBranch]:
    """Wire each branch that has a head."""
    outputs = {}
    for name, slots in recipe.branches.items():
        head = parts.get(f"{name}.head")
        if not slots:
            errors.append(f"{name} is empty: pick {name}/encoder=<preset> or {name}/head=<preset>, or remove it.")
        if "codec" in slots and "head" not in slots:
            errors.append(f"{name}.codec has no head that emits its codes: pick one with {name}/head=<preset>.")
        if head is not None:
            source = _source(f"{name}.head", head.tap, recipe, parts, input_branches, errors)
            codec = _codec(name, head, slots, parts, errors)
            units = _units(name, codec, slots, parts, errors)
            vocabulary = _vocabulary(name, head, recipe, parts, errors)
            if source:
                normaliser = _normaliser(name, head, source, parts, errors)
                outputs[name] = OutputBranch(name, head, source, codec, codec.spec if codec else None, vocabulary, units,
                                             normaliser)
    return outputs


def _unseen(input_branch: InputBranch) -> Iterator[str]:
    """Give what is wrong with a branch of images."""
    modality = input_branch.encoder.input.modality
    try:
        spec = input_branch.image_spec
    except ValueError as error:
        yield f"{input_branch.name}.encoder: {error}."
        return
    if modality == "video":
        yield (f"{input_branch.name}.encoder takes video, but videos come frame by frame to a branch that takes image;"
               " let its `input` be image.")
    if modality == "image" and spec is None:
        yield (f"{input_branch.name}.encoder takes image, but has no `image_spec`, which describes how images become its input;"
               " give it an ImageSpec.")
    if modality == "image" and spec and input_branch.encoder.input.shape != (3, spec.size, spec.size):
        yield (f"{input_branch.name}.encoder takes images of shape {input_branch.encoder.input.shape}, but its"
               f" `image_spec` cuts {(3, spec.size, spec.size)}; give both the same size.")
    if spec and spec.pooled and input_branch.joins_media:
        yield (f"{input_branch.name}.projector joins the frames of a video, but {input_branch.name}.encoder pools frames one by"
               f" one; set {input_branch.name}.encoder.pooled=null.")
    elif spec and spec.pooled and input_branch.projected:
        count = input_branch.projected.count or 0
        if isqrt(count) ** 2 != count or max(spec.pooled[1:]) > count:
            yield (f"{input_branch.name}.encoder pools frames to {spec.pooled[1]} and {spec.pooled[2]} vectors, but a frame has"
                   f" {count}; that must be a square and at least as many.")


def _projected(branch: InputBranch, parts: ComponentConfigs, errors: list[str]) -> InputBranch:
    """Give a branch with its projector, held against the encoders and the backbone."""
    name, projector = branch.name, parts.get(f"{branch.name}.projector")
    if projector is None or parts.backbone is None:
        return branch
    encoders = " and ".join(f"{each.name}.encoder" for each in (branch, *branch.sources))
    try:
        dim = embedding_dim(branch, parts.backbone)
        projected = projector_output(projector, branch, dim)
    except ValueError as error:
        errors.append(f"{name}.projector does not fit {encoders}: {str(error).rstrip('.')}.")
        return branch
    if projected.dim != dim:
        errors.append(f"{name}.projector gives vectors of hidden size {projected.dim}, but the backbone takes"
                      f" {dim}; its `output` must give the size that is asked for.")
    found = replace(branch, projector=projector, projected=projected)
    if found.instruction_tokenizer:
        _check_instructions(name, projector, found.instruction_tokenizer, errors)
    return found


def _check_instructions(name: str, projector: object, tokenizer: str, errors: list[str]) -> None:
    """Hold a projector's tokenizer against its table of tokens, where both are known; an id in the local cache is not."""
    if "/" in tokenizer and not Path(tokenizer).expanduser().exists():
        return
    size, rows = _own_tokenizer(f"{name}.projector", tokenizer, errors), getattr(projector, "vocabulary", None)
    if isinstance(rows, int) and rows < size:
        errors.append(f"{name}.projector.vocabulary is {rows}, but tokenizer {tokenizer!r} has {size} ids; set it to at least"
                      " that.")


def _source(
    where: str, tap: str, recipe: Recipe, parts: ComponentConfigs, input_branches: dict[str, InputBranch], errors: list[str]
) -> FeatureSpec | None:
    """Give what a head taps; None, and a sentence unless the tapped part has its own, where nothing is there."""
    if tap in BACKBONE_TAPS:
        if parts.backbone is None and recipe.backbone is None:
            errors.append(f"{where} taps the backbone's {tap}, but there is no backbone: pick one with backbone=<preset>.")
        if parts.backbone is None:
            return None
        return FeatureSpec(parts.backbone.vocabulary if tap == "logits" else parts.backbone.dim, count=1)
    specs = {f"{name}.encoder": input_branch.encoded for name, input_branch in input_branches.items()}
    specs |= {f"{name}.projector": input_branch.projected for name, input_branch in input_branches.items()
              if input_branch.projected}
    branch, _, slot = tap.partition(".")
    if tap not in specs and slot in recipe.branches.get(branch, {}) and parts.get(tap) is None:
        return None
    if tap not in specs:
        known = [*BACKBONE_TAPS, *specs]
        errors.append(f"{where}.tap is {tap!r}, but can be one of {', '.join(known)}.{nearest(tap, known)}")
        return None
    if slot == "projector" and input_branches[branch].joins_media:
        errors.append(f"{where}.tap is {tap!r}, but that projector joins the signals of a medium, and a head reads them one by"
                      f" one; tap {branch}.encoder, or choose another projector.")
        return None
    return specs[tap]


def _codec(name: str, head: HeadConfig, slots: dict[str, Choice], parts: ComponentConfigs,
           errors: list[str]) -> CodecConfig | None:
    codec: CodecConfig | None = parts.get(f"{name}.codec")
    if head.target != "codes" and "codec" in slots:
        errors.append(f"{name}.codec is never read: {name}.head emits {head.target}; remove it with ~{name}/codec.")
    if head.target == "codes" and "codec" not in slots:
        errors.append(f"{name}.head emits codes, but there is no codec: pick one with {name}/codec=<preset>.")
    if head.target != "codes" or codec is None:
        return None
    reason = head.codes(codec.spec)
    emitted = head_options(head).codebooks
    if reason is None and emitted is not None and emitted != codec.spec.codebooks:
        reason = (f"it emits {emitted} code{'s' if emitted > 1 else ''} a frame, but the codec has {codec.spec.codebooks}"
                  " codebooks (a head that emits several has `codebooks`)")
    if reason:
        errors.append(f"{name}.head cannot emit the codes of {name}.codec ({codec.spec}): {reason}.")
    return codec


def _normaliser(name: str, head: HeadConfig, source: FeatureSpec, parts: ComponentConfigs,
                errors: list[str]) -> NormaliserConfig | None:
    """Give what turns the words into those that are spoken, and hold the head against the vectors that it reads."""
    normaliser: NormaliserConfig | None = parts.get(f"{name}.normaliser")
    reads = head_options(head).reads
    reason = reads(source) if reads else None
    if reason:
        errors.append(f"{name}.head cannot read the {head.tap} it taps (hidden size {source.dim}): {reason}.")
    if normaliser is not None and head.tap != "embedding":
        errors.append(f"{name}.normaliser is never read: {name}.head taps {head.tap}, no words; remove it with"
                      f" ~{name}/normaliser.")
    return normaliser


def _units(name: str, codec: CodecConfig | None, slots: dict[str, Choice], parts: ComponentConfigs,
           errors: list[str]) -> CodecConfig | None:
    """Give the codec that makes the codes, held against the one that speaks them."""
    units: CodecConfig | None = parts.get(f"{name}.units")
    if "units" in slots and "codec" not in slots:
        errors.append(f"{name}.units makes codes, but there is no codec that speaks them: pick one with {name}/codec=<preset>.")
    if units is None or codec is None:
        return None
    if not units.encodes:
        errors.append(f"{name}.units cannot make codes of waves; pick a codec that encodes with {name}/units=<preset>.")
    if not codec.decodes:
        errors.append(f"{name}.codec cannot make waves of codes; pick a codec that decodes with {name}/codec=<preset>.")
    made, spoken = units.spec, codec.spec
    if (made.rate, made.codebooks, made.cardinality, made.merged) != (
            spoken.rate, spoken.codebooks, spoken.cardinality, spoken.merged):
        errors.append(f"{name}.units makes other codes ({made}) than {name}.codec speaks ({spoken}); set both alike.")
    return units


def _vocabulary(name: str, head: HeadConfig, recipe: Recipe, parts: ComponentConfigs, errors: list[str]) -> int:
    """Give the tokens that a head chooses from: those of its own tokenizer, else the backbone's."""
    own = head_options(head).tokenizer
    if own is None and parts.backbone is not None:
        return parts.backbone.vocabulary
    size = _own_tokenizer(f"{name}.head", own, errors) if own else 0
    if own is None and head.target != "codes" and recipe.backbone is None:
        errors.append(f"{name}.head has no vocabulary: without a backbone, set {name}.head.tokenizer (for example tiny).")
    return size


def _own_tokenizer(where: str, reference: str, errors: list[str]) -> int:
    """Give the number of ids of a component's own tokenizer; 0, and a sentence, where it cannot be read."""
    try:
        size = tokenizer_size(reference)
    except ConfigError as error:
        errors.append(f"{where}.tokenizer: {error}")
        return 0
    if size is None:
        errors.append(f"{where}.tokenizer is {reference!r}, but neither a tokenizer of that name nor a .json file is there.")
    return size or 0
