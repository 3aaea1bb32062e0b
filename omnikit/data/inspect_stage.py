"""One batch of a stage as training would draw it, with codes made by the recipe's own run where it has one."""

from collections.abc import Sequence
from itertools import islice

from omnikit.data.batch.codes import Codes
from omnikit.data.batch.collate import Collator
from omnikit.data.batch.samplers import LengthBucketSampler, MixtureDataset, SampleKey
from omnikit.data.inspect import InspectedBatch, inspect_batch
from omnikit.errors import ConfigError, nearest
from omnikit.plan.plan import Plan, StagePlan
from omnikit.store.load import build_model
from omnikit.store.runs import is_done, run_folder


def inspect_stage(plan: Plan, stage: str | None = None, rows: int = 4) -> InspectedBatch:
    """Describe one batch of a stage: where each token comes from, which head is supervised by it, what other heads predict.

    Args:
        stage: its name; None takes the first that trains heads.
        rows: of the batch; a dataset that the batch happens to lack is shown with its first row.

    Raises:
        ConfigError: there is no such stage, or it has no batches.
        OmnikitError: a dataset or a codec's weights cannot be read.
    """
    found = _stage(plan, stage)
    codes, notes = _codes(plan, found)
    collator = Collator(plan, list(found.stage.loss), codes)
    collator.branches = tuple(branch for branch in collator.branches if branch not in notes)  # the rest is read all the same
    readers = {dataset: plan.readers[dataset].build() for dataset in found.datasets}
    mixture = MixtureDataset(readers, plan.image_spec, plan.recipe.media)
    seed = plan.recipe.seed + list(plan.stages).index(found.name)
    sampler = LengthBucketSampler(mixture, found.stage.data, rows, seed, window=found.stage.trainer.window)
    keys = _with_each(max(islice(sampler, 2), key=len), found.datasets)  # one batch of a pass may be short
    named = ", ".join(dict.fromkeys(key[0] for key in keys))
    title = f"{plan.recipe.name}, stage {found.name}: {len(keys)} row{'s'[: len(keys) > 1]} of {named}"
    return inspect_batch(title, collator, [mixture[key] for key in keys], list(notes.values()))


def _with_each(keys: Sequence[SampleKey], datasets: Sequence[str]) -> list[SampleKey]:
    """Put the first row of each dataset that a batch happens to lack in the place of a row of one that it has twice."""
    found = list(keys)
    for name in datasets:
        names = [key[0] for key in found]
        twice = [index for index, other in enumerate(names) if names.count(other) > 1]
        if name not in names and twice:
            found[twice[-1]] = (name, 0)
    return found


def _stage(plan: Plan, name: str | None) -> StagePlan:
    stages = {key: stage for key, stage in plan.stages.items() if stage.stage.objective == "heads"}
    if name is None and stages:
        return next(iter(stages.values()))
    if name not in stages:
        what = f"has objective {plan.stages[name].stage.objective} and no batches" if name in plan.stages else (
            f"is not a stage of {plan.recipe.name}")
        raise ConfigError(f"stage is {name}, which {what}; stages with batches: {', '.join(stages) or 'none'}."
                          f"{nearest(name or '', stages)}")
    return stages[name]


def _codes(plan: Plan, stage: StagePlan) -> tuple[dict[str, Codes], dict[str, str]]:
    """Give branch → what makes its codes, with the weights of the recipe's run; and branch → why its codes are missing."""
    folder, found, notes = run_folder(plan.recipe), {}, {}
    for branch in stage.stage.loss:
        output = plan.outputs[branch]
        brought = all("codes" in plan.readers[dataset].provides for dataset in stage.datasets)
        if output.code_source is None or output.code_source_part is None or brought:
            continue
        origin = stage.origins.get(output.code_source_part)
        if origin and not is_done(folder, plan, origin):
            notes[branch] = (f"The targets of {branch} are made by {output.code_source_part}, which stage {origin} trains;"
                             " train that stage first to see them.")
            continue
        origins = {output.code_source_part: origin} if origin else {}
        model = build_model(plan, folder, origins, parts=[output.code_source_part])
        found[branch] = Codes(model.units(branch), output.code_source.spec.sample_rate)
    return found, notes
