"""A recipe as dataclasses: what the model is, and its stages. Made from the composed configuration, never from Hydra.

Reads no component: `use` and fields of a component stay a `Choice` until the plan constructs its dataclass.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from omnikit.contracts.specs import LATER, later_defaults, later_values
from omnikit.errors import PlanError, nearest
from omnikit.recipe.answers import Evaluate, Generate
from omnikit.recipe.branches import OPTIONS, BranchOptions, Choice, parse_choice, parse_options
from omnikit.recipe.live import Live
from omnikit.recipe.media import MediaLimits
from omnikit.recipe.optim import Optim
from omnikit.recipe.row_policy import RowPolicy, split_policy
from omnikit.recipe.schema import construct, convert, key_paths, plain
from omnikit.recipe.stage_order import order_stages
from omnikit.recipe.validation_settings import Validate
from omnikit.registry import component, components
from omnikit.text_table import columns

_MAPPING = dict[str, object]
_TOP: dict[str, tuple[Any, Any]] = {  # key: type, default
    "data": (_MAPPING, {}),
    "stages": (_MAPPING, {}),
    "generate": (_MAPPING, {}),
    "evaluate": (_MAPPING, {}),
    "live": (_MAPPING, {}),
    "media": (_MAPPING, {}),
    "template": (str | None, None),
    "system": (str | None, None),
    "seed": (int, 0),
    "run": (str | None, None),
    "stage": (str | None, None),
    "trainer": (_MAPPING, {}),
}
SLOTS = {"encoder": "encoder", "projector": "projector", "head": "head", "units": "codec", "codec": "codec",
         "normaliser": "normaliser"}
"""What a branch may hold → the kind of component. `units` is a codec that only makes codes, where `codec` cannot."""
OWN_KEYS = ("backbone", "data", "evaluate", "generate", "live", "media", "name", "run", "seed", "stage", "stages", "system",
            "template", "trainer")
Objective = Literal["heads", "units", "vocoder", "codec", "import"]
HEADS_ONLY = {"activation_checkpointing", "cache", "compile", "devices", "nodes", "precision", "reshard",
              "strategy"}
"""Settings of a recipe's own `trainer` that stages of other objectives than heads leave out."""
_NAME = re.compile(r"[a-z][a-z0-9_]*")  # of branches, stages, datasets and titles: some become names of files


@dataclass
class TrainerConfig:
    """How long and on what a stage runs; the names are Lightning's where it has one.

    Args:
        max_steps: optimizer steps; needed unless max_epochs is given.
        max_epochs: passes over the data; the smaller of the two ends the stage.
        batch_size: rows in a batch.
        accumulate: batches per optimizer step, which is that of one batch of all their rows.
        devices: of one machine; each takes its own batches: a step has batch_size × accumulate × devices × nodes rows.
        nodes: machines, each with so many devices; torchrun or SLURM starts a process for each device of each.
        strategy: of several devices: "ddp" holds the model on each and sums gradients, "fsdp2" shards weights, gradients and
            the optimizer's state over them (as ZeRO-3 does); "auto" is ddp.
        reshard: with fsdp2, give up a layer's collected weights after its forward pass and collect them again in the backward
            pass; false holds them between: a third less traffic, and memory as of ZeRO-2.
        workers: processes that load data; 0 loads in this one. None: up to 8 beside a GPU, none where the CPU trains.
        log_every: steps between two lines of metrics.csv.
        logger: what gets these lines as well: tensorboard, wandb, mlflow, trackio; None: TensorBoard where it is installed.
        window: batches whose rows are sorted by length together: less padding, but the rows of a batch are alike; 1: none.
        batch_tokens: positions of a batch at most, padding included, instead of `batch_size` rows; where the backbone does not
            run, the encoders' features. With `pack`, full sequences of it. None: `batch_size` counts.
        pack: positions of a sequence that several conversations share, each as if it were alone; None: one sequence for each.
        precision: 32-true; bf16-mixed and 16-mixed multiply in halves; bf16-true does so too and also holds frozen weights in
            bfloat16 meanwhile. Trained weights are float32 while they are trained.
        activation_checkpointing: keep the inputs of repeated layers only and compute the rest again in the backward pass: less
            memory, about a third more time, the same gradients. true: of all parts; or a list, [backbone, vision.encoder].
        compile: parts that torch.compile compiles, [backbone].
        save_every: steps, or time ("30s", "10min", "2h"), between two checkpoints of an unfinished stage.
        keep: checkpoints of it; the last stays with the finished stage, which more steps then continue. 0: none stays.
        cache: "features": what frozen parts compute before the first trained one is computed once for each row, alone and
            without padding, stored in the cache folder and read from then on; "none": it is computed each time.
        offload: "optimizer": the optimizer's moments lie in the host's memory, and come to the device in each step for some
            weights after others; "none": they stay on it. The same weights either way.
        cache_gib: GiB that all stored features may take; rows beyond it are computed each time.
    """

    max_steps: int | None = None
    max_epochs: int | None = None
    batch_size: int = 32
    accumulate: int = 1
    precision: Literal["32-true", "bf16-mixed", "16-mixed", "bf16-true"] = "32-true"
    accelerator: Literal["auto", "cpu", "gpu"] = "auto"
    devices: int = 1
    strategy: Literal["auto", "ddp", "fsdp2", "deepspeed_2", "deepspeed_3"] = "auto"
    workers: int | None = None
    log_every: int = 10
    window: int = field(default=50, metadata=LATER)
    pack: int | None = field(default=None, metadata=LATER)
    batch_tokens: int | None = field(default=None, metadata=LATER)
    activation_checkpointing: Any = field(default=False, metadata=LATER)
    compile: tuple[str, ...] = field(default=(), metadata=LATER)
    save_every: int | str = field(default="10min", metadata=LATER)
    keep: int = field(default=2, metadata=LATER)
    cache: Literal["none", "features"] = field(default="none", metadata=LATER)
    cache_gib: float = field(default=20.0, metadata=LATER)
    offload: Literal["none", "optimizer"] = field(default="none", metadata=LATER)
    logger: tuple[str, ...] | None = field(default=None, metadata=LATER)
    nodes: int = field(default=1, metadata=LATER)
    reshard: bool = field(default=True, metadata=LATER)

    @property
    def processes(self) -> int:
        """Processes that train the stage together."""
        return self.devices * self.nodes


@dataclass
class Stage:
    """One training run.

    Args:
        objective: what is trained: the heads by their summed losses, or one codec part by its own; `import` trains nothing, but
            reads weights from a published checkpoint.
        after: the stage before this one; without it the order of the file holds.
        init_from: whose weights to start from: nothing (the stage before), a stage, or {part: stage} for several parents.
        train: what is trained, {audio: {projector: full}, backbone: full}; everything else is frozen.
        loss: weight of each output branch's loss; 0 leaves it out.
        data: mixture weight of each dataset; 0 leaves it out.
        source: for `import`, the layout and its files: {use: llama_omni, folder: …}.
        allow: for `import`, parts that may lack tensors (they keep random weights) or have some left over.
        validate: held-out rows that the losses are measured on meanwhile.
    """

    objective: Objective = "heads"
    after: str | None = None
    init_from: Any = None
    train: dict[str, Any] = field(default_factory=dict)
    loss: dict[str, float] = field(default_factory=dict)
    data: dict[str, float] = field(default_factory=dict)
    optim: Optim = field(default_factory=Optim)
    trainer: TrainerConfig = field(default_factory=TrainerConfig)
    source: dict[str, Any] = field(default_factory=dict)
    allow: tuple[str, ...] = ()
    validate: Validate = field(default_factory=Validate, metadata=LATER)


@dataclass(frozen=True)
class Recipe:
    """A whole recipe; `branches` maps branch → slot → choice, in the file's order."""

    name: str
    branches: dict[str, dict[str, Choice]]
    backbone: Choice | None
    template: str | None
    system: str | None  # system prompt instead of the template's own; "" for none
    data: dict[str, Choice]
    stages: dict[str, Stage]
    generate: Generate
    evaluate: Evaluate
    seed: int
    run: str | None
    picks: dict[str, str] = field(default_factory=dict)  # part → the name that was picked for it; for display only
    stage: str | None = None  # train this stage only, for a quick try: all that it starts from has random weights
    branch_options: dict[str, BranchOptions] = field(default_factory=dict)  # of branches that name some
    live: Live = field(default_factory=Live)
    row_policies: dict[str, RowPolicy] = field(default_factory=dict)  # of datasets that name one
    media: MediaLimits = field(default_factory=MediaLimits)

    def __repr__(self) -> str:
        """Give the parts with what was picked for each, and the stages, as a table."""
        picked = {f"{branch}.{slot}": choice.use for branch, slots in self.branches.items() for slot, choice in slots.items()}
        picked |= {"backbone": self.backbone.use} if self.backbone else {}
        parts = [(part, self.picks.get(part, use)) for part, use in picked.items()]
        stages = [(name, stage.objective, ", ".join(stage.data)) for name, stage in self.stages.items()]
        return (f"Recipe {self.name}\n{columns([('part', 'component'), *parts])}"
                f"{columns([('stage', 'objective', 'data'), *stages])}".rstrip())

    def fingerprint(self) -> str:
        """Give 12 hex digits that change with anything that changes the weights: model, template, data, stages, seed."""
        branches = {branch: {slot: _own(SLOTS[slot], choice) for slot, choice in slots.items()}
                    for branch, slots in self.branches.items()}
        backbone, data = _own("backbone", self.backbone), {name: _own("reader", choice) for name, choice in self.data.items()}
        parts = [branches, backbone, self.template, self.system, data,
                 {name: training_settings(stage) for name, stage in self.stages.items()}, self.seed,
                 *([{branch: options.settings() for branch, options in self.branch_options.items()}]
                   if self.branch_options else []),
                 *([self.row_policies] if self.row_policies else [])]
        return hashlib.sha256(json.dumps(plain(parts), sort_keys=True).encode()).hexdigest()[:12]


def _own(kind: str, choice: Choice | None) -> Choice | None:
    """Give a component without the fields that came later and stand at their default: older runs keep their folder."""
    if choice is None or choice.use not in components(kind):
        return choice
    later = later_values(component(kind, choice.use))
    return Choice(choice.use, {key: value for key, value in choice.fields.items()
                               if key not in later or plain(value) != plain(later[key])})


def training_settings(stage: Stage) -> dict[str, Any]:
    """Give a stage as YAML would hold it, without what changes no weight: where it runs, loading, reporting."""
    values: dict[str, Any] = plain(stage)
    idle = {"accelerator", "activation_checkpointing", "cache_gib", "keep", "log_every", "logger", "offload", "reshard",
            "save_every", "workers"}
    idle |= later_defaults(stage.trainer) | later_defaults(stage.optim)
    for settings in ("optim", "trainer"):
        values[settings] = {k: v for k, v in values[settings].items() if k not in idle}
    if not stage.validate.decides:
        del values["validate"]
    # a step of the same rows is the same step, on however many devices
    values["trainer"] |= {"accumulate": stage.trainer.accumulate * stage.trainer.processes, "devices": 1, "strategy": "auto"}
    values["trainer"].pop("nodes", None)
    if source := values["source"]:
        own = _own("importer", Choice(str(source.get("use")), {key: value for key, value in source.items() if key != "use"}))
        values["source"] = {"use": source.get("use"), **(own.fields if own else {})}
    return {key: value for key, value in values.items() if value or key not in {"source", "allow"} | later_defaults(stage)}


def parse(values: Mapping[str, Any], name: str, picks: Mapping[str, str] | None = None) -> Recipe:
    """Make a recipe of a composed configuration; raises PlanError with every misplaced or mistyped key at once."""
    errors = [f"{path} is refused: a YAML names installed components with `use:`, it never runs code."
              for path in key_paths("_target_", values)]
    top = {key: convert(values.get(key, default), kind, key, errors) for key, (kind, default) in _TOP.items()}
    if errors:
        raise PlanError(*errors)
    branches = {key: _branch(key, value, errors) for key, value in values.items() if key not in OWN_KEYS}
    options = {key: found for key in branches if (found := parse_options(key, values[key], errors)) != BranchOptions()}
    backbone = parse_choice("backbone", values["backbone"], errors) if values.get("backbone") else None
    rows = {key: split_policy(f"data.{key}", choice, errors) for key, value in top["data"].items()
            if (choice := parse_choice(f"data.{key}", value, errors))}
    data = {key: choice for key, (choice, _) in rows.items()}
    stages = {key: _drop_zero_weights(stage) for key, value in top["stages"].items()  # null leaves out an inherited stage
              if value is not None and (stage := construct(Stage, value, f"stages.{key}", errors))}
    stages = {key: _with_trainer(stage, top["trainer"], errors) for key, stage in stages.items()}
    generate = construct(Generate, top["generate"], "generate", errors)
    evaluate = construct(Evaluate, top["evaluate"], "evaluate", errors)
    live, media = construct(Live, top["live"], "live", errors), construct(MediaLimits, top["media"], "media", errors)
    if top["stage"] is not None:
        stages = _single_stage(top["stage"], stages, errors)
    names = {"data": top["data"], "stages": top["stages"], "evaluate.data": evaluate.data if evaluate else {}}
    errors += [f"{where}.{key} is not a valid name; use lower-case letters, digits and _." for where, keys in names.items()
               for key in keys if not _NAME.fullmatch(key)]
    if errors or generate is None or evaluate is None or live is None or media is None:
        raise PlanError(*errors)
    return Recipe(name, branches, backbone, top["template"], top["system"], data, order_stages(stages), generate, evaluate,
                  top["seed"], top["run"], dict(picks or {}), top["stage"], options, live,
                  {key: policy for key, (_, policy) in rows.items() if not policy.is_default}, media)


def _with_trainer(stage: Stage, shared: Mapping[str, object], errors: list[str]) -> Stage:
    """Give a stage the recipe's own `trainer` settings, where it has none but the default; of several devices, if it can."""
    found: list[str] = []
    given = construct(TrainerConfig, shared, "trainer", found)
    errors += [sentence for sentence in found if sentence not in errors]  # once, not for each stage
    plain_ones = TrainerConfig()
    single = set() if stage.objective == "heads" else HEADS_ONLY
    changed = {key: getattr(given, key) for key in {*shared} - single
               if given and getattr(stage.trainer, key) == getattr(plain_ones, key)}
    return replace(stage, trainer=replace(stage.trainer, **changed))


def _drop_zero_weights(stage: Stage) -> Stage:
    """Leave out what has weight 0, so that a recipe can drop what the one below it has."""
    loss, data = ({name: weight for name, weight in weights.items() if weight} for weights in (stage.loss, stage.data))
    return replace(stage, loss=loss, data=data)


def _branch(name: str, value: Any, errors: list[str]) -> dict[str, Choice]:
    if "/" in name:  # Hydra takes +audio/encodr=whisper for a key
        errors.append(f"{name} names nothing: a branch holds {', '.join(SLOTS)}.{nearest(name.rpartition('/')[2], SLOTS)}")
        return {}
    if not isinstance(value, Mapping):
        errors.append(f"{name} is {value!r}, but a top-level key is either one of {', '.join(OWN_KEYS)} or a branch"
                      f" that holds {', '.join(SLOTS)}.{nearest(name, OWN_KEYS)}")
        return {}
    if not _NAME.fullmatch(name):
        errors.append(f"{name} is not a valid name of a branch; use lower-case letters, digits and _.")
        return {}
    for key in value:
        if key not in (*SLOTS, *OPTIONS):
            errors.append(f"{name}.{key} is not a part of a branch; a branch holds {', '.join((*SLOTS, *OPTIONS))}."
                          f"{nearest(str(key), (*SLOTS, *OPTIONS)) or nearest(name, OWN_KEYS)}")
    slots = {slot: parse_choice(f"{name}.{slot}", value[slot], errors) for slot in SLOTS if value.get(slot) is not None}
    return {slot: choice for slot, choice in slots.items() if choice}


def _single_stage(name: str, stages: dict[str, Stage], errors: list[str]) -> dict[str, Stage]:
    """Keep one stage, which then starts from random weights."""
    if name not in stages:
        errors.append(f"stage is {name!r}, which is not a stage.{nearest(name, stages)} Stages:"
                      f" {', '.join(order_stages(stages)) or 'none'}.")
        return stages
    return {name: replace(stages[name], after=None, init_from=None)}
