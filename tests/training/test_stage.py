"""Stages end to end on doubles: hand-over, proof, repeatability, interruption."""

import csv
import json
import signal
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch
from doubles import EchoDataset, EchoReader, FakeEncoder, make_plan, stages, write_tokenizer
from safetensors import safe_open

from omnikit import part_modules as modelling
from omnikit.contracts.types import ContentPart, Message, Sample
from omnikit.data.batch.samplers import MixtureDataset
from omnikit.errors import DataError, RunError
from omnikit.inference.session import restore
from omnikit.model import OmniModel
from omnikit.plan.plan import Plan
from omnikit.recipe.optim import Optim
from omnikit.recipe.recipe import Stage
from omnikit.store import checkpoint
from omnikit.store import manifest as locking
from omnikit.store.hashes import hashes
from omnikit.store.runs import WEIGHTS
from omnikit.training.stage import run_stages, train
from omnikit.training.stage_task import StageResult

SEED = 0  # draws a row of text first
FILES = {"config.yaml", "manifest.json", WEIGHTS, "done"}
RUN_FILES = {"config.yaml", "manifest.json", "run.html"}


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> str:
    return write_tokenizer(tmp_path_factory.mktemp("tokenizer"))


@pytest.fixture(scope="module")
def trained(tokenizer: str, tmp_path_factory: pytest.TempPathFactory) -> tuple[Plan, Path, list[StageResult]]:
    folder = tmp_path_factory.mktemp("run")
    plan = make_plan(tokenizer, encoder=FakeEncoder(dropout=0.1), steps=300)
    return plan, folder, run_stages(plan, folder, "name: doubles\n")


PROJECTOR = {"audio": {"projector": "full"}}


def test_batches_of_text_alone_do_not_end_a_stage_that_trains_a_projector(tokenizer: str, tmp_path: Path) -> None:
    stage = replace(stages(12)["understand"], train=PROJECTOR)
    stage = replace(stage, trainer=replace(stage.trainer, batch_size=1))
    plan = make_plan(tokenizer, echo=EchoDataset(textual=2), only={"understand": stage})
    run_stages(plan, tmp_path, "")
    record = lock(tmp_path, "understand")
    assert record["weights_before"]["audio.projector"] != record["weights_after"]["audio.projector"]


def test_rows_that_never_reach_what_is_trained_are_named(tokenizer: str, tmp_path: Path) -> None:
    stage = replace(stages(12)["understand"], train=PROJECTOR)
    plan = make_plan(tokenizer, echo=EchoDataset(textual=1), only={"understand": stage})
    with pytest.raises(DataError, match=r"Stage understand: audio.projector would not be trained, because no row of dataset"
                                        r" echo \(64 rows\) has audio in its questions and a target in its answer"):
        run_stages(plan, tmp_path / "run", "")
    plan = make_plan(tokenizer, echo=EchoDataset(textual=2), only={"understand": replace(
        stage, trainer=replace(stage.trainer, batch_size=1, max_steps=1))})
    with pytest.raises(DataError, match=r"Stage understand: no batch reached audio.projector, the last of rows \w+; give"):
        run_stages(replace(plan, recipe=replace(plan.recipe, seed=SEED)), tmp_path / "run", "")
    assert not (tmp_path / "run").exists()


def lock(folder: Path, stage: str) -> dict[str, dict[str, str]]:
    return json.loads((folder / stage / "manifest.json").read_text())


def test_stage_folders_hold_what_they_promise(trained: tuple[Plan, Path, list[StageResult]]) -> None:
    _, folder, _ = trained
    found = {path.name: {file.name for file in path.iterdir()} for path in folder.iterdir() if path.is_dir()
             and path.name != "tokenizer"}
    steps = {*FILES, "metrics.csv", "checkpoints", "tensorboard"}
    assert found == {"listen": steps, "units": FILES, "understand": steps, "speak": steps}
    assert {path.name for path in folder.iterdir() if path.is_file()} == RUN_FILES


def test_each_stage_moves_what_it_trains_and_nothing_else(trained: tuple[Plan, Path, list[StageResult]]) -> None:
    plan, folder, _ = trained
    for name, stage in plan.stages.items():
        record = lock(folder, name)
        moved = {p for p, digest in record["weights_after"].items() if record["weights_before"][p] != digest}
        assert moved == set(stage.trained)


def test_stages_hand_weights_over(trained: tuple[Plan, Path, list[StageResult]]) -> None:
    _, folder, _ = trained
    speak = lock(folder, "speak")["weights_before"]
    for part, stage in (("audio.encoder", "listen"), ("speech.codec", "units"), ("backbone", "understand")):
        assert speak[part] == lock(folder, stage)["weights_after"][part]


def test_checkpoint_holds_what_was_trained_only(trained: tuple[Plan, Path, list[StageResult]]) -> None:
    _, folder, _ = trained
    holds, frozen = checkpoint.hashes(folder / "speak" / WEIGHTS)
    assert set(holds) == {"speech.head"}
    assert set(frozen) == {"audio.encoder", "audio.projector", "backbone", "speech.codec"}


def test_losses_fall_and_are_recorded(trained: tuple[Plan, Path, list[StageResult]]) -> None:
    _, folder, rows = trained
    with (folder / "understand" / "metrics.csv").open() as file:
        table = list(csv.DictReader(file))
    assert [int(row["step"]) for row in table] == list(range(5, 301, 5))
    assert float(table[-1]["loss.text"]) < 0.1 * float(table[0]["loss.text"])
    assert rows[2].numbers["text"] == pytest.approx(float(table[-1]["loss.text"]), rel=1e-5)


def test_trained_model_answers_what_it_was_asked(trained: tuple[Plan, Path, list[StageResult]]) -> None:
    plan, folder, _ = trained
    samples = [EchoReader(EchoDataset())[i] for i in range(16)]
    answers = restore(plan, folder).answers(samples)
    right = [a.text == s.messages[1].content[0].text for a, s in zip(answers, samples, strict=True)]
    assert sum(right) >= 15  # it learns these rows by heart in 300 steps; one slip is allowed


def test_restored_weights_are_the_trained_ones(trained: tuple[Plan, Path, list[StageResult]]) -> None:
    plan, folder, _ = trained
    found = hashes(restore(plan, folder).model)
    assert {p: found[p] for p in ("backbone", "speech.head")} == {
        "backbone": lock(folder, "understand")["weights_after"]["backbone"],
        "speech.head": lock(folder, "speak")["weights_after"]["speech.head"]}


def test_finished_stages_are_skipped(trained: tuple[Plan, Path, list[StageResult]]) -> None:
    plan, folder, _ = trained
    assert all(row.skipped for row in run_stages(plan, folder, ""))


def test_changed_stage_is_trained_again_and_its_parents_are_not(tokenizer: str, tmp_path: Path) -> None:
    run_stages(make_plan(tokenizer, steps=2), tmp_path, "")
    changed = stages(2)
    changed["understand"].optim = Optim(lr=3e-3)
    rows = run_stages(make_plan(tokenizer, only=changed), tmp_path, "", retrain=["understand"])
    assert {row.stage: row.skipped for row in rows} == {"listen": True, "units": True, "understand": False, "speak": False}


def test_same_seed_gives_the_same_weights(tokenizer: str, tmp_path: Path) -> None:
    plan = make_plan(tokenizer, encoder=FakeEncoder(dropout=0.3), steps=5)
    for run in ("a", "b"):
        run_stages(plan, tmp_path / run, "")
        torch.rand(7)  # whatever else a program draws
    for stage in plan.stages:
        assert lock(tmp_path / "a", stage)["weights_after"] == lock(tmp_path / "b", stage)["weights_after"]


def test_another_seed_gives_other_weights(tokenizer: str, tmp_path: Path) -> None:
    for seed in (0, 1):
        run_stages(make_plan(tokenizer, steps=1, seed=seed), tmp_path / str(seed), "")
    first, second = (lock(tmp_path / run, "speak")["weights_after"] for run in "01")
    assert first["speech.head"] != second["speech.head"]


def test_frozen_part_that_moves_is_an_error(tokenizer: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = make_plan(tokenizer, steps=1)
    losses = OmniModel.tapped_losses

    def meddling(self: OmniModel, *arguments: object) -> object:
        self.get_submodule("audio.encoder").norm.bias.data.add_(1)
        return losses(self, *arguments)

    run_stages(make_plan(tokenizer, steps=1, only={"listen": stages(1)["listen"]}), tmp_path, "")
    monkeypatch.setattr(OmniModel, "tapped_losses", meddling)
    with pytest.raises(RunError, match=r"Stage understand changed audio.encoder, which it does not train"):
        run_stages(plan, tmp_path, "")
    assert not (tmp_path / "understand").exists()


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError], ids=["interrupt", "bug"])
def test_interrupted_stage_leaves_nothing_and_earlier_ones_stay(
    tokenizer: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: type[BaseException]
) -> None:
    losses = OmniModel.tapped_losses

    def interrupted(self: OmniModel, batch: object, wanted: dict[str, float], *given: object) -> object:
        if "text" in wanted:
            raise error
        return losses(self, batch, wanted, *given)

    monkeypatch.setattr(OmniModel, "tapped_losses", interrupted)
    handler = signal.getsignal(signal.SIGINT)
    with pytest.raises(error):
        run_stages(make_plan(tokenizer, steps=3), tmp_path, "")
    assert signal.getsignal(signal.SIGINT) is handler
    assert {path.name for path in tmp_path.iterdir()} == {"listen", "units", "tokenizer", *RUN_FILES}


def test_killed_stage_is_started_from_scratch(tokenizer: str, tmp_path: Path) -> None:
    (tmp_path / ".listen.partial").mkdir()
    (tmp_path / ".listen.partial" / "metrics.csv").write_text("left over")
    run_stages(make_plan(tokenizer, only={"listen": stages(1)["listen"]}), tmp_path, "")
    assert "left over" not in (tmp_path / "listen" / "metrics.csv").read_text()
    assert {path.name for path in tmp_path.iterdir()} == {"listen", "tokenizer", *RUN_FILES}


@pytest.mark.parametrize("workers", [0, 1])
def test_broken_row_is_one_sentence(tokenizer: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, workers: int) -> None:
    read = EchoReader.__getitem__

    def broken(self: EchoReader, index: int) -> Sample:
        if index == 5:
            raise DataError("line 5 is broken.")
        return read(self, index)

    monkeypatch.setattr(EchoReader, "__getitem__", broken)
    monkeypatch.setattr(MixtureDataset, "size", lambda self, pick: 1.0)
    only = {"listen": stages(20)["listen"]}
    only["listen"].trainer.workers = workers
    with pytest.raises(DataError, match=r"^line 5 is broken.$"):
        run_stages(make_plan(tokenizer, only=only), tmp_path / "run", "")
    assert not (tmp_path / "run").exists()


def test_damaged_parent_stops_the_next_stage(tokenizer: str, tmp_path: Path) -> None:
    run_stages(make_plan(tokenizer, only={"listen": stages(1)["listen"]}), tmp_path, "")
    file = tmp_path / "listen" / WEIGHTS
    file.write_bytes(file.read_bytes()[:-8])
    with pytest.raises(RunError, match=r"listen/weights.safetensors is not a whole safetensors file"):
        run_stages(make_plan(tokenizer, steps=1), tmp_path, "")


def test_parts_can_come_from_several_parents(tokenizer: str, tmp_path: Path) -> None:
    parents = stages(2)
    both = {name: parents[name] for name in ("listen", "units", "understand")}
    both["again"] = Stage(train={"transcript": "full"}, loss={"transcript": 1.0}, data={"echo": 1.0}, init_from="listen",
                          trainer=parents["listen"].trainer)
    both["speak"] = parents["speak"]
    both["speak"].init_from = {"audio": "listen", "backbone": "understand", "speech": "units"}
    run_stages(make_plan(tokenizer, only=both), tmp_path, "")
    assert lock(tmp_path, "speak")["origins"] == {"audio.encoder": "listen", "backbone": "understand", "speech.codec": "units"}


def test_train_links_the_latest_run(tokenizer: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    plan = make_plan(tokenizer, only={"listen": stages(1)["listen"]})
    folder, _ = train(plan, "")
    link = tmp_path / "runs" / "doubles" / "tiny" / "latest"
    assert link.resolve() == folder.resolve() and not link.readlink().is_absolute()


def test_a_stage_that_is_tried_alone_leaves_the_latest_run_alone(tokenizer: str, tmp_path: Path,
                                                                 monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    plan = make_plan(tokenizer, only={"listen": stages(1)["listen"]})
    whole, _ = train(plan, "")
    alone, _ = train(replace(plan, recipe=replace(plan.recipe, stage="listen", seed=1)), "")
    assert alone != whole and (whole.parent / "latest").resolve() == whole.resolve()


def test_training_learns_from_text_rows_among_audio_rows(tokenizer: str, tmp_path: Path) -> None:
    rows = run_stages(make_plan(tokenizer, echo=EchoDataset(textual=2), steps=5), tmp_path, "")
    assert all(row.steps == 5 for row in rows if row.stage != "units")


def test_folder_that_is_no_stage_is_never_deleted(tokenizer: str, tmp_path: Path) -> None:
    (tmp_path / "listen").mkdir()
    (tmp_path / "listen" / "thesis.txt").write_text("dear")
    with pytest.raises(RunError, match=r"listen is there but is not a finished stage; choose another folder with run=PATH"):
        run_stages(make_plan(tokenizer, only={"listen": stages(1)["listen"]}), tmp_path, "")
    assert (tmp_path / "listen" / "thesis.txt").read_text() == "dear"


def test_train_keeps_the_configuration_of_the_last_call(tokenizer: str, tmp_path: Path) -> None:
    plan = make_plan(tokenizer, only={"listen": stages(1)["listen"]}, run=tmp_path / "r")
    train(plan, "first")
    _, rows = train(plan, "second")
    assert rows[0].skipped
    assert (tmp_path / "r" / "config.yaml").read_text() == "second"


def test_edited_data_is_refused_and_trained_again_where_asked(
    tokenizer: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = make_plan(tokenizer, only={name: stages(2)[name] for name in ("listen", "units")})
    run_stages(plan, tmp_path, "")
    read = EchoReader.__getitem__
    monkeypatch.setattr(EchoReader, "__getitem__", lambda self, index: read(self, index + 1))
    sentence = (r"^Stages listen, units of .* were trained with data\.echo with content of fingerprint \w{16}, which is \w{16}"
                r" now; add --retrain listen --retrain units to train them again")
    with pytest.raises(RunError, match=sentence):
        run_stages(plan, tmp_path, "")
    assert [row.skipped for row in run_stages(plan, tmp_path, "", retrain=["all"])] == [False, False]
    assert [row.skipped for row in run_stages(plan, tmp_path, "")] == [True, True]


def test_stage_on_weights_that_were_trained_again_is_refused(tokenizer: str, tmp_path: Path) -> None:
    plan = make_plan(tokenizer, steps=1)
    run_stages(plan, tmp_path, "")
    record = lock(tmp_path, "understand")
    record["weights_before"]["audio.encoder"] = "another"
    (tmp_path / "understand" / "manifest.json").write_text(json.dumps(record))
    sentence = (r"understand of .* was trained with audio\.encoder of stage listen with hash another, which is \w{16} now; add"
                r" --retrain understand to train it again, and what starts from it \(speak\)")
    with pytest.raises(RunError, match=sentence):
        run_stages(plan, tmp_path, "")
    assert {row.stage: row.skipped for row in run_stages(plan, tmp_path, "", retrain=["understand"])} == {
        "listen": True, "units": True, "understand": False, "speak": True}  # it gave the same weights again


def test_stage_whose_parts_come_from_a_changed_file_is_refused(tokenizer: str, tmp_path: Path) -> None:
    @dataclass(frozen=True)
    class Given(FakeEncoder):
        weights: str | None = None

    file = tmp_path / "checkpoint" / "encoder.pt"
    file.parent.mkdir()
    file.write_text("a")
    plan = make_plan(tokenizer, encoder=Given(weights=str(file.parent)), steps=1)
    run_stages(plan, tmp_path / "run", "")
    file.write_text("other")
    with pytest.raises(RunError, match=r"trained with the file .*encoder\.pt with hash ca978112ca1bbdca, which is "
                                       "d9298a10d1b07358 now"):  # of sha256sum
        run_stages(plan, tmp_path / "run", "")
    again = {row.stage: row.skipped for row in run_stages(plan, tmp_path / "run", "", retrain=["listen"])}
    assert again == {"listen": False, "units": True, "understand": True, "speak": True}  # they start from listen's weights
    file.unlink()
    assert all(row.skipped for row in run_stages(plan, tmp_path / "run", ""))


def test_finished_stage_outlives_its_data(tokenizer: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(self: EchoDataset) -> EchoReader:
        raise DataError("rows.jsonl does not exist.")

    plan = make_plan(tokenizer, only={"listen": stages(1)["listen"]})
    run_stages(plan, tmp_path, "")
    monkeypatch.setattr(EchoDataset, "build", gone)
    assert run_stages(plan, tmp_path, "")[0].skipped


def test_size_of_a_file_is_part_of_the_data(tmp_path: Path) -> None:
    class Files:
        def __len__(self) -> int:
            return 1

        def __getitem__(self, index: int) -> Sample:
            return Sample("a", (Message("user", (ContentPart("audio", path=str(tmp_path / "a.wav")),)),))

    prints = [locking.data_fingerprint(Files())]
    for content in ("one", "three"):
        (tmp_path / "a.wav").write_text(content)
        prints.append(locking.data_fingerprint(Files()))
    assert len(set(prints)) == 3


def test_frozen_part_must_be_the_one_that_the_parent_had(
    tokenizer: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    only = {name: stage for name, stage in stages(1).items() if name != "listen"}  # nothing trains the encoder
    run_stages(make_plan(tokenizer, only={name: only[name] for name in ("units", "understand")}), tmp_path, "")
    built = modelling.build_part

    def other(plan: Plan, path: str, config: object) -> torch.nn.Module:
        part = built(plan, path, config)
        if path == "audio.encoder":  # as if the file that its weights come from had changed
            part.norm.bias.data.add_(1)
        return part

    monkeypatch.setattr(modelling, "build_part", other)
    with pytest.raises(RunError, match=r"understand/weights.safetensors was trained beside audio.encoder with weights"):
        run_stages(make_plan(tokenizer, only=only), tmp_path, "")


def test_stage_in_mixed_precision_trains_with_clipped_gradients(tokenizer: str, tmp_path: Path) -> None:
    stage = stages(2)["understand"]
    assert stage.optim.clip > 0
    mixed = replace(stage, trainer=replace(stage.trainer, precision="bf16-mixed"))
    run_stages(make_plan(tokenizer, only={"understand": mixed}), tmp_path, "")
    record = lock(tmp_path, "understand")
    assert record["weights_before"]["backbone"] != record["weights_after"]["backbone"]


def test_half_precision_part_is_trained_in_float32_and_saved_in_its_dtype(
    tokenizer: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    built, losses, seen = modelling.build_part, OmniModel.tapped_losses, set()

    def half(plan: Plan, path: str, config: object) -> torch.nn.Module:
        return built(plan, path, config).bfloat16() if path == "backbone" else built(plan, path, config)

    def watched(self: OmniModel, *arguments: object) -> object:
        seen.update(weights.dtype for weights in self.get_submodule("backbone").parameters())
        return losses(self, *arguments)

    monkeypatch.setattr(modelling, "build_part", half)
    monkeypatch.setattr(OmniModel, "tapped_losses", watched)
    run_stages(make_plan(tokenizer, only={"understand": stages(2)["understand"]}), tmp_path, "")
    with safe_open(tmp_path / "understand" / WEIGHTS, framework="pt") as file:
        dtypes = {file.get_tensor(name).dtype for name in file.keys() if name.startswith("backbone.")}  # noqa: SIM118
    assert (seen, dtypes) == ({torch.float32}, {torch.bfloat16})
    record = lock(tmp_path, "understand")
    assert record["weights_before"]["backbone"] != record["weights_after"]["backbone"]
