"""The memory that a stage will need, before any weight exists: by formula, from contracts. Imports no torch.

Bytes on one device. On a card they are what its allocator holds; on a CPU what the process holds, whose imports are a constant
that was measured (x86-64 Linux, torch 2.11, Lightning 2.6). Where several devices share, weights, gradients and moments are
divided as FSDP divides them, and a batch is that of each device.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from omnikit.contracts.configs import CodecConfig
from omnikit.contracts.footprint import Footprint
from omnikit.contracts.optional import codec_options
from omnikit.plan.activations import Activations, activations
from omnikit.plan.batch_sizes import BatchSizes, batch_sizes
from omnikit.plan.footprints import footprints
from omnikit.plan.plan import Plan
from omnikit.plan.stage_plan import StagePlan

GIB = 2**30
PROCESS = 762 * 2**20  # a process that imported torch, Lightning and the training code
WARM_UP = 30 * 2**20  # what the first step adds: kernels, optimizers, threads
KERNELS = 40 * 2**20  # of convolutions over audio, one for each of their shapes
CARD = 600 * 2**20  # a CUDA context with its libraries and workspaces
FRAGMENTATION = 1.05  # of what a card's allocator holds
MOMENTS = {"adamw": 8.0, "muon": 8.0, "adamw_8bit": 2.03, "adamw_8bit_paged": 0.0, "adafactor": 0.01}  # bytes of a weight
OFFLOAD_BUCKET = 2**25  # weights whose moments are on the device at the same time; omnikit.training.offload
HALF = 2
QUANTISED = {"8bit": 1.0, "4bit": 0.53}  # bytes of a weight, scales included; omnikit.training.trainable.quantised
SPECTRA, ADVERSARIAL = 200, 3600  # values that losses on spectra, and discriminators, keep of a sample; about
DISCRIMINATORS, THEIR_WIDTH = 70_700_000, 32  # parameters at this width; see omnikit.training.codecs.discriminators


@dataclass(frozen=True)
class Forecast:
    """The memory of one stage, in bytes, on each device.

    Args:
        trained: parameters that the stage changes.
        frozen: parameters that it runs and does not change.
        weights: of both.
        casts: copies in halves that autocast makes of trained weights.
        saved: bytes of the weights that it leaves on disk.
        uncounted: parts whose component states no footprint.
        offloaded: of the optimizer's bytes, those that lie in the host's memory.
        kernels: compiled code of a process on a CPU.
    """

    stage: str
    trained: int
    frozen: int
    weights: float
    gradients: float
    optimizer: float
    casts: float
    activations: float
    logits: float
    imports: float
    saved: float
    sizes: BatchSizes
    uncounted: tuple[str, ...] = ()
    offloaded: float = 0.0
    kernels: float = 0.0

    @property
    def tensors(self) -> float:
        """All tensors."""
        return self.weights + self.gradients + self.optimizer + self.casts + self.activations + self.logits

    @property
    def card(self) -> float:
        """What a card needs."""
        return CARD + FRAGMENTATION * (self.tensors - self.offloaded)

    @property
    def process(self) -> float:
        """What a process on a CPU needs."""
        return PROCESS + self.imports + self.kernels + WARM_UP + self.tensors


@dataclass(frozen=True)
class Setting:
    """What a forecast assumes beside the recipe.

    Args:
        devices: that share weights, gradients and moments as FSDP does; 1: as the recipe has it.
        text_tokens: of a row, where a reader does not state them; None: see omnikit.plan.batch_sizes.
    """

    devices: int = 1
    text_tokens: int | None = None


def forecast(plan: Plan, setting: Setting | None = None) -> dict[str, Forecast]:
    """Give stage → its memory, for stages that train."""
    found, chosen = footprints(plan), setting or Setting()
    return {name: stage_forecast(plan, stage, chosen, found) for name, stage in plan.stages.items()
            if stage.stage.objective != "import"}


def stage_forecast(plan: Plan, stage: StagePlan, setting: Setting, found: Mapping[str, Footprint]) -> Forecast:
    """Give the memory of one stage."""
    sizes = batch_sizes(stage, plan.inputs, plan.readers, setting.text_tokens, plan.outputs)
    parts = {part: _table(found[part], plan, stage, part) for part in stage.used if part in found}
    weights = _Weights(stage, parts, plan)
    shards = sharing(stage, setting)
    half, alone = stage.stage.trainer.precision != "32-true", shards == 1
    held = activations(plan, stage, sizes, parts) if stage.stage.objective == "heads" else _codec(plan, stage, parts)
    casts = HALF * weights.trained if half and alone else 2 * HALF * weights.largest_layer * (not alone)
    return Forecast(
        stage.name, weights.trained, weights.frozen, weights.shared(shards), 4 * weights.trained / shards,
        weights.moments / shards, casts, held.layers + held.transient, held.logits,
        sum(part.imports for part in parts.values()), weights.saved, sizes,
        tuple(part for part in stage.used if part not in found), weights.offloaded,
        KERNELS if stage.stage.objective in ("codec", "vocoder") else 0.0)


def sharing(stage: StagePlan, setting: Setting) -> int:
    """Give the devices among which a stage's weights are divided: those asked for, else those of its strategy fsdp2."""
    trainer = stage.stage.trainer
    if stage.stage.objective != "heads":  # trains on one device
        return 1
    return setting.devices if setting.devices > 1 else trainer.processes if trainer.strategy == "fsdp2" else 1


@dataclass(frozen=True)
class _Weights:
    """Parameters of a stage, and the bytes that they and their moments take."""

    stage: StagePlan
    parts: Mapping[str, Footprint]
    plan: Plan
    adapters: dict[str, int] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "adapters", {part: adapter_parameters(self.stage, part, found)
                                              for part, found in self.parts.items() if is_adapted(self.stage, part)})

    @property
    def fully_trained(self) -> dict[str, int]:
        """Part → parameters, for parts that are trained as a whole."""
        return {part: found.parameters for part, found in self.parts.items()
                if part in self.stage.trained and part not in self.adapters}

    @property
    def trained(self) -> int:
        return sum(self.fully_trained.values()) + sum(self.adapters.values()) + self.discriminators

    @property
    def discriminators(self) -> int:
        """Parameters of the discriminators of a vocoder's or codec's stage; about."""
        config = self.plan.parts()[self.stage.trained[0]] if self.stage.trained else None
        if not {"adversarial", "feature_matching"} & set(self.stage.stage.loss) or not isinstance(config, CodecConfig):
            return 0
        return int(DISCRIMINATORS * ((codec_options(config).discriminator_dim or THEIR_WIDTH) / THEIR_WIDTH) ** 2)

    @property
    def frozen(self) -> int:
        return sum(found.parameters for part, found in self.parts.items() if part not in self.fully_trained)

    @property
    def bytes(self) -> float:
        """Trained weights are float32; frozen ones as they are, or halves where the stage holds them so."""
        halves = self.stage.stage.trainer.precision == "bf16-true"
        frozen = {part: HALF if found.dtype != "float32" or (halves and not part.endswith((".codec", ".units"))) else 4
                  for part, found in self.parts.items() if part not in self.fully_trained}
        frozen |= {part: 4 for part, tuning in self.stage.tuning.items() if tuning.full}  # the rest computes in float32 too
        whole = sum(size * self.parts[part].parameters for part, size in frozen.items())
        return whole + 4 * self.trained - sum(self._quantised(part, size) for part, size in frozen.items())

    def shared(self, devices: int) -> float:
        """Give the bytes of one of several devices.

        Each holds matrices in 8 or 4 bits as a whole, and with `reshard: false` all weights besides its shards.
        """
        loras = {part: tuning.lora for part, tuning in self.stage.tuning.items() if tuning.lora and part in self.parts}
        whole = sum(_inner(self.parts[part]) * QUANTISED[lora.load_in] for part, lora in loras.items() if lora.load_in)
        held = 0.0 if self.stage.stage.trainer.reshard or devices == 1 else self.bytes - whole
        return whole + (self.bytes - whole) / devices + held

    def _quantised(self, part: str, size: int) -> float:
        """Give the bytes that a part's matrices are smaller by where its adapters' `load_in` holds them in 8 or 4 bits."""
        tuning = self.stage.tuning.get(part)
        if tuning is None or tuning.lora is None or tuning.lora.load_in is None:
            return 0.0
        return _inner(self.parts[part]) * (size - QUANTISED[tuning.lora.load_in])

    @property
    def moments(self) -> float:
        """Muon has one moment for what it moves: the matrices of repeated layers."""
        optim = self.stage.stage.optim
        plain = MOMENTS[optim.name] * self.trained
        if optim.muon is None and optim.name != "muon":
            return plain
        return plain + (4.0 - MOMENTS[optim.name]) * sum(_inner(self.parts[part]) for part in self.fully_trained)

    @property
    def offloaded(self) -> float:
        """Bytes of moments in the host's memory: all but those of the weights that are moved at the same time."""
        if self.stage.stage.trainer.offload == "none" or not self.trained:
            return 0.0
        return self.moments * max(0.0, 1 - OFFLOAD_BUCKET / self.trained)

    @property
    def largest_layer(self) -> float:
        """Parameters of the largest layer, which FSDP gathers."""
        return max((found.parameters / max(1, found.layers) for found in self.parts.values()), default=0.0)

    @property
    def saved(self) -> float:
        """Bytes of the stage's weights file, each part in its own dtype and adapters alone."""
        counts = [*self.fully_trained.items(), *self.adapters.items()]
        return sum(count * (HALF if self.parts[part].dtype != "float32" else 4) for part, count in counts)


def _inner(found: Footprint) -> int:
    """Give the parameters of the matrices inside a part's repeated layers."""
    return sum(each.count * each.inputs * each.outputs for each in found.matrices)


def is_adapted(stage: StagePlan, part: str) -> bool:
    """Say whether a stage trains adapters or pieces of a part instead of all of it."""
    return part in stage.tuning


def adapter_parameters(stage: StagePlan, part: str, found: Footprint) -> int:
    """Give the parameters of a part's adapters; pieces that are trained themselves are not counted."""
    lora = stage.tuning[part].lora
    return sum(matrix.count * lora.rank * (matrix.inputs + matrix.outputs) for matrix in found.matrices) if lora else 0


def _table(found: Footprint, plan: Plan, stage: StagePlan, part: str) -> Footprint:
    """Give a part as a stage runs it: of the backbone perhaps the embedding table alone."""
    if part != "backbone" or not stage.table or plan.backbone is None:
        return found
    return Footprint(plan.backbone.vocabulary * plan.backbone.dim, dtype=found.dtype, imports=found.imports)


def _codec(plan: Plan, stage: StagePlan, parts: Mapping[str, Footprint]) -> Activations:
    """Give what a codec's or vocoder's stage keeps: a batch of segments, and what scores them."""
    part = stage.trained[0]
    config = plan.parts()[part]
    if part not in parts or stage.stage.objective == "units" or not isinstance(config, CodecConfig):
        return Activations(0.0, 0.0, 0.0)
    frames = stage.stage.trainer.batch_size * (codec_options(config).segment or 0)
    samples = frames * float(config.spec.sample_rate / config.spec.rate)
    held = frames * parts[part].outside.size(half=False)
    scored = 4 * samples * (SPECTRA + ADVERSARIAL * bool({"adversarial", "feature_matching"} & set(stage.stage.loss)))
    return Activations(held + scored, 0.2 * held, 0.0)
