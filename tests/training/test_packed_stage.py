"""A stage whose rows are packed: images, videos, speech and text in one batch, all of a pass trained on."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from stopping import Killed, kill, outcome, stopping

from omnikit.contracts.types import Batch, ContentPart, Message, Sample
from omnikit.data.batch.collate import Collator
from omnikit.data.batch.lengths import LengthCounter
from omnikit.data.batch.packing import PackedCollator
from omnikit.data.batch.windows import count_window
from omnikit.data.media.image import save_image
from omnikit.data.media.video import save_video
from omnikit.model import OmniModel
from omnikit.plan.plan import Plan, make
from omnikit.recipe.compose import compose
from omnikit.training.module import Training
from omnikit.training.normalisation import WindowScales
from omnikit.training.stage import run_stages

RECIPE = """\
# @package _global_
defaults:
  - /recipe
  - /vision/encoder: internvit_tiny_random
  - /vision/projector: mlp_2x
  - /audio/encoder: mel_cnn_tiny_random
  - /audio/projector: strided_conv
  - /backbone: qwen2_tiny_random
  - /text/head: lm
  - /turn/head: state
  - /data/rows: messages_jsonl
  - _self_
data:
  rows: {path: ROWS, provides: [text, image, video, audio, answer]}
stages:
  learn:
    train: {vision: {projector: full}, backbone: full}
    loss: {text: 1.0}
    data: {rows: 1.0}
    trainer: {max_epochs: 2, batch_size: 2, pack: 300, accumulate: 2}
"""
MEDIA = (None, "square.png", "wide.png", "video.mp4")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Rows of text, of an image of one tile, of one with five and of a video, in turns."""
    folder, random = tmp_path_factory.mktemp("rows"), np.random.default_rng(0)
    save_image(folder / "square.png", random.integers(0, 256, (64, 64, 3), dtype=np.uint8))
    save_image(folder / "wide.png", random.integers(0, 256, (70, 256, 3), dtype=np.uint8))
    save_video(folder / "video.mp4", random.integers(0, 256, (16, 64, 64, 3), dtype=np.uint8), 4)
    rows = []
    for number in range(16):
        path = MEDIA[number % 4]
        media = [{"type": "video" if number % 4 == 3 else "image", "path": path}] if path else []
        asked = [*media, {"type": "text", "text": "what is it " * (1 + number % 3)}]
        answer = [{"type": "text", "text": "it is so " * (1 + number % 5)}]
        messages = [{"role": "user", "content": asked}, {"role": "assistant", "content": answer}]
        rows.append({"id": f"row{number}", "messages": messages})
    (folder / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    (folder / "mix.yaml").write_text(RECIPE.replace("ROWS", str(folder / "rows.jsonl")))
    return folder


@pytest.fixture
def plan(folder: Path) -> Plan:
    return make(compose(str(folder / "mix.yaml"), []))


def loss(plan: Plan, collate: Callable[..., Batch], items: object) -> tuple[dict[str, torch.Tensor], list[torch.Tensor]]:
    """Give the losses of both heads, and all gradients but the encoders'."""
    model = OmniModel(plan).eval()
    found = model.losses(collate(items), ["text", "turn"])
    assert len(found) == 2
    sum(found.values()).backward()
    return found, [p.grad for name in ("vision.projector", "audio.projector", "backbone", "turn")
                   for p in model.get_submodule(name).parameters() if p.grad is not None]


def spoken(state: str) -> Sample:
    audio_part = ContentPart("audio", audio=np.random.default_rng(len(state)).normal(0, 0.1, 12000).astype(np.float32))
    return Sample(state, (Message("user", (audio_part,)), Message("assistant", (ContentPart("text", text="so"),), state=state)))


def test_packed_media_teach_what_they_teach_alone(plan: Plan) -> None:
    reader, collate = plan.readers["rows"].build(), Collator(plan, ["text", "turn"])
    samples = [reader[1], spoken("audio"), reader[2], reader[3], spoken("noise"), reader[0]]
    alone, gradients = loss(plan, collate, samples)
    packed, found = loss(plan, PackedCollator(collate), [samples[:3], samples[3:4], samples[4:]])
    torch.testing.assert_close(packed, alone, rtol=1e-5, atol=1e-6)  # float32 summed in another order
    torch.testing.assert_close(found, gradients, rtol=1e-3, atol=1e-5)


def test_accumulated_packs_teach_what_one_batch_teaches(plan: Plan) -> None:
    reader, collate = plan.readers["rows"].build(), PackedCollator(Collator(plan, ["text", "turn"]))
    rows = [[reader[1], spoken("audio")], [reader[2], reader[0]], [reader[3], spoken("noise"), spoken("audio")]]
    model = OmniModel(plan).eval()
    batches = [collate(rows[:2]), collate(rows[2:])]
    count_window(batches)
    scales, parts = WindowScales(["text", "turn"], 2), list(model.get_submodule("backbone").parameters())
    found = sum(scales(batch, torch.device("cpu"))[name] / 2 * loss for batch in batches  # as Lightning divides
                for name, loss in model.losses(batch, ["text", "turn"]).items())
    expected = sum(model.losses(collate(rows), ["text", "turn"]).values())
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-6)
    for one, other in zip(*(torch.autograd.grad(loss, parts, allow_unused=True, materialize_grads=True)
                            for loss in (found, expected)), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)


def test_lengths_are_read_off_the_files(plan: Plan) -> None:
    reader, collate = plan.readers["rows"].build(), Collator(plan, ["text"])
    assert [LengthCounter(collate)(reader[index]) for index in range(4)] == [
        len(collate.row(reader[index]).tokens) for index in range(4)]


@pytest.mark.parametrize("workers", [0, 1])
def test_stage_learns_from_every_row_of_its_passes(folder: Path, tmp_path: Path, workers: int,
                                                   monkeypatch: pytest.MonkeyPatch) -> None:
    plan = make(compose(str(folder / "mix.yaml"), [f"stages.learn.trainer.workers={workers}"]))
    seen: list[str] = []
    step = Training.training_step
    monkeypatch.setattr(Training, "training_step", lambda self, batch, at: seen.extend(batch.ids) or step(self, batch, at))
    rows = run_stages(plan, tmp_path, "")
    assert sorted(seen) == sorted([f"row{number}" for number in range(16)] * 2)
    assert 2 <= rows[0].steps <= len(seen)
    assert run_stages(plan, tmp_path, "")[0].skipped


def test_stage_of_a_budget_of_positions(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = make(compose(str(folder / "mix.yaml"), ["stages.learn.trainer.pack=null", "+stages.learn.trainer.batch_tokens=700"]))
    shapes: list[tuple[int, int]] = []
    step = Training.training_step
    monkeypatch.setattr(Training, "training_step", lambda self, batch, at: shapes.append(batch.tokens.shape) or step(
        self, batch, at))
    run_stages(plan, tmp_path, "")
    assert sum(rows for rows, _ in shapes) == 32 and all(rows == 1 or rows * width <= 700 for rows, width in shapes)
    assert len(shapes) < 16


def test_stage_without_end_of_passes_runs_its_steps(folder: Path, tmp_path: Path) -> None:
    limits = ["stages.learn.trainer.max_epochs=null", "stages.learn.trainer.max_steps=9"]
    assert run_stages(make(compose(str(folder / "mix.yaml"), limits)), tmp_path, "")[0].steps == 9


def test_packed_stage_that_was_killed_ends_as_the_undisturbed_one(folder: Path, tmp_path: Path) -> None:
    settings = ["stages.learn.trainer.save_every=1", "stages.learn.trainer.workers=0", "stages.learn.trainer.log_every=1"]
    plan = make(compose(str(folder / "mix.yaml"), settings))
    run_stages(plan, tmp_path / "whole", "")
    with stopping(3, kill), pytest.raises(Killed):
        run_stages(plan, tmp_path / "resumed", "")
    run_stages(plan, tmp_path / "resumed", "")
    assert outcome(tmp_path / "resumed", "learn") == outcome(tmp_path / "whole", "learn")
