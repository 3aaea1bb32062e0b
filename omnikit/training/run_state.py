"""Which stages of a run are trained: those that are not finished; finished ones only where it is asked for.

A finished stage whose settings, data or files are otherwise now is refused, with what differs. Does not train.
"""

import os
from collections import defaultdict
from collections.abc import Collection, Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path

from omnikit.errors import RunError, nearest
from omnikit.plan.plan import Plan
from omnikit.store import checkpoint, imports, manifest, run_manifest
from omnikit.store.content import FileHashes
from omnikit.store.facts import Difference, differences, facts_hash, listed, parent_differences, stage_facts, stage_hash
from omnikit.store.runs import WEIGHTS, finished_hash
from omnikit.store.stage_folder import check_ours, identity, repair
from omnikit.store.training_checkpoint import TrainingCheckpoint
from omnikit.training.checkpointing import resume
from omnikit.training.monitoring.estimate import RecipeEstimate

ALL = "all"


class RunState:
    """Owns what one training command decides about a run's folder, whose lock it holds.

    Args:
        config: the resolved configuration as YAML.
        retrain: stages that are trained again though they are finished, or `all`; those that start from them may be replaced
            too, where what they start from changes.
        restart: begin unfinished stages from scratch, whatever checkpoints they have.

    Raises:
        RunError: `retrain` names no stage, or a stage's folder is damaged.
    """

    def __init__(self, plan: Plan, folder: Path, config: str, retrain: Collection[str] = (), *,
                 restart: bool = False) -> None:
        self.plan, self.folder, self.config, self.restart = plan, folder, config, restart
        for name in retrain:
            if name not in (*plan.stages, ALL):
                raise RunError(f"--retrain is {name!r}, which is not a stage of {plan.recipe.name}.{nearest(name, plan.stages)}"
                               f" Stages: {', '.join(plan.stages)}; {ALL} means each of them.")
        self.manifest = run_manifest.read_or_new(folder, plan)
        self.estimate = RecipeEstimate({}, {})  # of the stages to train
        self.hashes = FileHashes(self.manifest.files)
        self.data_now = cache(lambda name: manifest.fingerprint_now(plan.readers[name]))
        for name in plan.stages:
            repair(folder, name, stage_hash(plan, name))
        chosen = set(plan.stages) if ALL in retrain else set(retrain)
        self.replaceable = {name for name in plan.stages if chosen & {name, *self._ancestors(name)}}
        self.retraining, self.pending = self._pending(chosen)
        self.finished = {name: digest for name in plan.stages
                         if name not in self.pending and (digest := finished_hash(folder, name)) is not None}

    def check(self) -> None:
        """Refuse at once what is finished and would be replaced without being asked for.

        Raises:
            RunError: one sentence for each group of stages in which the same things differ.
        """
        differing: dict[str, list[Difference]] = {}
        for name in self.plan.stages:
            if not self.restart:
                resume.check_resumable(self.plan, self.folder, name)
            if name in self.pending:
                check_ours(self.folder, name)
            elif name not in self.finished:
                self._check_free(name)
            elif self.continues(name):
                continue
            elif (found := self.changes(name)) and name not in self.replaceable:
                differing[name] = found
        groups: dict[str, list[str]] = defaultdict(list)  # what differs, but for stages that are named themselves → stages
        for name, found in differing.items():
            if own := [difference for difference in found if difference.stage not in differing]:
                groups[listed(own)].append(name)
        if groups:
            raise RunError(*(self._refusal(names, found) for found, names in groups.items()))

    def is_to_train(self, name: str) -> bool:
        """Say whether a stage is trained now, when all before it are finished.

        Raises:
            RunError: it is finished, differs, and it was not asked for.
        """
        if name not in self.finished or self.continues(name):
            return True
        found = self.changes(name)
        if found and name not in self.replaceable:
            raise RunError(self._refusal([name], listed(found)))
        return bool(found)

    def continues(self, name: str) -> bool:
        """Whether a finished stage only gets more steps."""
        return name in self.finished and resume.continues(self.plan, self.folder, name, self.changes(name))

    def checkpoint(self, name: str) -> TrainingCheckpoint | None:
        """Give the checkpoint that a stage goes on from; None where it begins."""
        if self.restart and name not in self.finished:
            return None
        return resume.checkpoint_of(self.folder, name, finished=name in self.finished and self.continues(name))

    def changes(self, name: str) -> list[Difference]:
        """Give what a finished stage was made of and is otherwise now; nothing where it can be skipped.

        Raises:
            RunError: its manifest is damaged.
        """
        record, facts, stage = manifest.read(self.folder, name), stage_facts(self.plan, name), self.plan.stages[name]
        if facts_hash(record["facts"]) != self.finished[name]:
            raise RunError(f"{self.folder / name / 'done'} and {manifest.NAME} beside it are not of one training; put them back"
                           f" as they were, or train the stage again with --retrain {name}.")
        self._check_weights(name, record["weights_after"])
        found = differences(record["facts"], facts)
        if self.finished[name] != facts_hash(facts):
            return found + parent_differences(record["facts"], facts)
        if any(origin not in self.finished for origin in stage.origins.values()):
            return found  # compared again when they are trained
        return found + manifest.input_changes(self.folder, stage, self.files(name), self.data_now)

    def files(self, name: str) -> dict[str, str]:
        """Give path → hash of the files that a stage takes weights from, those of an import or of its fresh parts."""
        stage = self.plan.stages[name]
        if stage.stage.objective == "import":
            return self.hashes.of(imports.source_of(stage).files())
        return self.hashes.of(manifest.part_files(self.plan, stage))

    def begin(self) -> None:
        """Write down what is trained again, so that the same call goes on with it if this one is stopped."""
        if self.pending and self.manifest.order:
            self.manifest = run_manifest.write(self.folder, self.manifest, replace(self.manifest, retraining=self.retraining))

    def finish(self, name: str) -> None:
        """Write down that a stage was trained."""
        self.finished[name] = stage_hash(self.plan, name)
        self.pending.discard(name)
        self.write()

    def end(self) -> None:
        """Write down that all of it came to its end."""
        self.retraining = {}
        self.write()

    def write(self) -> None:
        """Write the run's manifest and configuration, unless they are as they should be."""
        finished = {name: self.finished[name] for name in self.plan.stages if name in self.finished}
        self.manifest = run_manifest.write(self.folder, self.manifest, run_manifest.RunManifest(
            self.plan.recipe.name, self.config, tuple(self.plan.stages), finished, self.retraining, self.hashes.record()))

    def _pending(self, chosen: set[str]) -> tuple[dict[str, str], set[str]]:
        """Give what is replaced, by its identity, and which of it still is there.

        What an interrupted call of the same command replaced already is not trained once more.
        """
        before = self.manifest.retraining if set(self.manifest.retraining) == chosen else {}
        now = {name: identity(self.folder, name) for name in self.plan.stages if name in chosen}
        return {**now, **before}, {name for name in chosen if before.get(name, now[name]) == now[name]}

    def _ancestors(self, name: str) -> set[str]:
        origins = set(self.plan.stages[name].origins.values())
        return origins.union(*(self._ancestors(origin) for origin in origins))

    def _check_weights(self, name: str, written: Mapping[str, str]) -> None:
        path, advice = self.folder / name / WEIGHTS, f"put it back as it was, or train the stage again with --retrain {name}"
        try:
            found, _ = checkpoint.hashes(path)
        except RunError as error:
            raise RunError(f"{str(error).rpartition('; ')[0] or error}; {advice}.") from error
        if other := [part for part, digest in found.items() if written.get(part) != digest]:
            raise RunError(f"{path} holds other weights of {other[0]} than {manifest.NAME} beside it names; {advice}.")

    def _check_free(self, name: str) -> None:
        final = self.folder / name
        if os.path.lexists(final):
            check_ours(self.folder, name)
            raise RunError(f"{final} is there but is not a finished stage; choose another folder with run=PATH, or train it"
                           f" again with --retrain {name}.")

    def _refusal(self, names: list[str], found: str) -> str:
        after = [name for name in self.plan.stages if name not in names and self._ancestors(name) & set(names)]
        several, flags = len(names) > 1, " ".join(f"--retrain {name}" for name in names)
        it = "them" if several else "it"
        heirs = f", and what starts from {it} ({', '.join(after)})" if after else ""
        return (f"Stage{'s' if several else ''} {', '.join(names)} of {self.folder} {'were' if several else 'was'} trained with"
                f" {found}; add {flags} to train {it} again{heirs}, where the old weights stay until the new ones are"
                " complete, or choose another folder with run=PATH.")
