"""A stage with `objective: vocoder` on doubles: what it is trained on and by, what it keeps."""

import csv
import json
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import partial
from pathlib import Path

import pytest
import torch
from doubles import RATE, EchoDataset, EchoReader, FakeCodec, FakeCodecModule, make_plan, write_tokenizer
from stopping import Killed, kill, outcome, stopping
from torch import Tensor, nn

from omnikit.contracts.configs import VocoderConfig
from omnikit.contracts.specs import CodecSpec
from omnikit.errors import DataError, RunError
from omnikit.plan.plan import Plan
from omnikit.plan.stage_plan import Wiring
from omnikit.plan.stages import plan_stages
from omnikit.recipe.media import MediaLimits
from omnikit.recipe.optim import Optim
from omnikit.recipe.recipe import Stage, TrainerConfig
from omnikit.store import checkpoint
from omnikit.store.runs import WEIGHTS
from omnikit.training.codecs.spectral_losses import MelLoss, STFTLoss
from omnikit.training.codecs.vocoder import LabelledSpeech, VocoderBatch, VocoderDataset, VocoderLosses, label
from omnikit.training.stage import run_stages

BOX = FakeCodec()


@dataclass(frozen=True)
class Speaker:
    """A table of waves, one for each code, and one of durations."""

    size: int = BOX.size
    segment: int = 2
    sample_rate: int = RATE
    discriminator_dim: int = 4
    weights: str | None = None
    encodes: bool = False
    decodes: bool = True
    objectives: tuple[str, ...] = ("vocoder",)

    @property
    def spec(self) -> CodecSpec:
        return CodecSpec(self.sample_rate, Fraction(RATE, 5), 1, self.size, merged=True)

    def build(self) -> nn.Module:
        return SpeakerModule(self.size)


class SpeakerModule(nn.Module):
    def __init__(self, size: int) -> None:
        super().__init__()
        self.waves = nn.Embedding(size, 5)
        self.lasting = nn.Embedding(size, 1)

    def generate(self, codes: Tensor) -> Tensor:
        return self.waves(codes[..., 0]).flatten(-2)

    def log_durations(self, codes: Tensor, mask: Tensor) -> Tensor:
        return self.lasting(codes[..., 0])[..., 0]


def voiced(tokenizer: str, loss: dict[str, float], *, steps: int = 3, seed: int = 0) -> Plan:
    """Give the doubles' plan with units beside a codec that speaks them, and two stages: units, voice."""
    plan = make_plan(tokenizer, only={}, seed=seed)
    outputs = {**plan.outputs, "speech": replace(plan.outputs["speech"], codec=Speaker(), units=BOX)}
    only = {"units": Stage(objective="units", train={"speech": {"units": "full"}}, data={"echo": 1.0}),
            "voice": Stage(objective="vocoder", train={"speech": {"codec": "full"}}, loss=loss, data={"echo": 1.0},
                           optim=Optim(lr=1e-2), trainer=TrainerConfig(max_steps=steps, batch_size=4, log_every=1))}
    errors: list[str] = []
    parts = ("audio.encoder", "audio.projector", "backbone", "text.head", "speech.head", "speech.units", "speech.codec")
    planned = plan_stages(only, Wiring(plan.inputs, outputs, plan.backbone, plan.readers, parts), errors)
    assert not errors, errors
    return replace(plan, outputs=outputs, stages=planned, recipe=replace(plan.recipe, stages=only))


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> str:
    return write_tokenizer(tmp_path_factory.mktemp("tokenizer"))


@pytest.fixture
def speech() -> list[LabelledSpeech]:
    return label({"echo": EchoReader(EchoDataset())}, FakeCodecModule(9), Speaker(), lambda share: None,
                 sample_rate=RATE)["echo"]


def takes() -> VocoderBatch:
    return VocoderBatch(torch.tensor([[1, 2], [3, 3]])[..., None], torch.linspace(-0.3, 0.3, 20).view(2, 10),
                 torch.tensor([[1, 2, 0], [3, 4, 5]])[..., None], torch.tensor([[2, 1, 0], [4, 1, 3]]))


# ---- what it learns from ----


def test_speaker_keeps_the_contract() -> None:
    config: VocoderConfig = Speaker()  # mypy holds it against the protocol
    assert config.objectives == ("vocoder",)


def test_each_frame_has_its_code_and_each_answer_stands_once(speech: list[LabelledSpeech]) -> None:
    waves = {tuple(row.wave.tolist()) for row in speech}
    assert len(waves) == len(speech) < EchoDataset().rows
    for row in speech:
        assert torch.equal(FakeCodecModule(9).label(row.wave), row.labels) and len(row.wave) == 5 * len(row.labels)


def test_short_speech_ends_in_silence(speech: list[LabelledSpeech]) -> None:
    shortest = min(speech, key=lambda row: len(row.wave.nonzero()))  # one word: one frame
    assert len(shortest.labels) == Speaker().segment + 1
    assert not shortest.wave[5:].any()


def test_units_read_their_own_rate_and_the_target_has_the_vocoder_s(speech: list[LabelledSpeech]) -> None:
    readers, config = {"echo": EchoReader(EchoDataset())}, Speaker(sample_rate=2 * RATE)
    fast = label(readers, FakeCodecModule(9), config, lambda share: None, sample_rate=RATE)
    for one, other in zip(speech, fast["echo"], strict=True):
        assert torch.equal(other.labels, one.labels) and len(other.wave) == 10 * len(other.labels)
    loud = max(fast["echo"], key=lambda row: int(row.wave.count_nonzero())).wave.view(-1, 10).abs().amax(1)
    assert bool(loud[:2].all())  # sound stands at its frames, not in the first half of the row


class Late(FakeCodecModule):
    """Gives no label for the last frames, as codecs do whose frames overlap."""

    late = 4

    def label(self, wave: Tensor) -> Tensor:
        return super().label(wave)[:-self.late]


def test_short_speech_is_padded_until_it_makes_a_segment() -> None:
    found = label({"echo": EchoReader(EchoDataset())}, Late(9), Speaker(segment=3), lambda share: None,
                  sample_rate=RATE)["echo"]
    assert all(len(row.labels) >= 3 and len(row.wave) == 5 * len(row.labels) for row in found)
    VocoderDataset({"echo": found}, {"echo": 1.0}, 8, 3, seed=0).batch(0)


def test_units_that_give_no_labels_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Late, "late", 10000)
    with pytest.raises(RunError, match="Late gives 0 labels for 1026 frames of sound, but a segment of the vocoder needs 2"):
        label({"echo": EchoReader(EchoDataset())}, Late(9), Speaker(), lambda share: None, sample_rate=RATE)


def test_segments_are_cut_at_frames(speech: list[LabelledSpeech]) -> None:
    segments = VocoderDataset({"echo": speech}, {"echo": 1.0}, 4, 2, seed=0)
    for batch in map(segments.batch, range(len(segments))):
        for labels, wave in zip(batch.labels, batch.waves, strict=True):
            assert torch.equal(FakeCodecModule(9).label(wave), labels)


def test_merged_codes_and_their_frames_make_the_utterance(speech: list[LabelledSpeech]) -> None:
    batch = VocoderDataset({"echo": speech}, {"echo": 1.0}, 4, 2, seed=0).batch(0)
    whole = {tuple(row.labels[:, 0].tolist()) for row in speech}
    for codes, frames in zip(batch.merged, batch.frames, strict=True):
        assert tuple(codes[:, 0].repeat_interleave(frames).tolist()) in whole
        assert len(torch.unique_consecutive(codes[frames > 0])) == int((frames > 0).sum())


def test_shares_hold_whatever_the_sizes() -> None:
    rows = {name: [LabelledSpeech(torch.full((length,), code), partial(torch.zeros, 5 * length), 5) for _ in range(count)]
            for name, code, length, count in (("few", 1, 2, 3), ("many", 2, 9, 50))}
    segments = VocoderDataset(rows, {"few": 3.0, "many": 1.0}, 40, 2, seed=0)
    drawn = torch.cat([segments.batch(number).labels[:, 0] for number in range(len(segments))])
    assert float((drawn == 1).float().mean()) == pytest.approx(0.75, abs=0.15)


def test_same_seed_draws_the_same_segments(speech: list[LabelledSpeech]) -> None:
    one, two, other = (VocoderDataset({"echo": speech}, {"echo": 1.0}, 8, 2, seed=seed).batch(0).waves for seed in (5, 5, 6))
    assert torch.equal(one, two) and not torch.equal(one, other)


# ---- what it learns by ----


def test_losses_are_those_of_the_wave_it_gives() -> None:
    module, batch = SpeakerModule(9), takes()
    found = VocoderLosses(module, ("stft", "mel", "duration"), Speaker(), 1e-3)(batch)
    wave = module.waves.weight[batch.labels].flatten(1)
    assert torch.equal(found["stft"], STFTLoss()(wave, batch.waves))
    assert torch.equal(found["mel"], MelLoss(RATE)(wave, batch.waves))
    assert set(found) == {"stft", "mel", "duration"}


def test_duration_loss_is_the_squared_error_of_log_frames() -> None:
    module, batch = SpeakerModule(9), takes()
    found = VocoderLosses(module, ("duration",), Speaker(), 1e-3)(batch)["duration"]
    predicted = module.lasting.weight[torch.tensor([1, 2, 3, 4, 5]), 0]
    expected = (predicted - torch.tensor([3.0, 2.0, 5.0, 2.0, 4.0]).log()).square().mean()
    torch.testing.assert_close(found, expected)


def test_discriminators_learn_and_the_vocoder_is_their_pupil() -> None:
    torch.manual_seed(0)
    module, batch = SpeakerModule(9), takes()
    losses = VocoderLosses(module, ("adversarial", "feature_matching"), Speaker(), 1e-3)
    before = {name: weights.clone() for name, weights in losses.named_parameters()}
    found = losses(batch)
    (found["adversarial"] + found["feature_matching"]).backward()
    assert set(found) == {"adversarial", "feature_matching", "discriminator"} and not found["discriminator"].requires_grad
    assert all(not torch.equal(weights, before[name]) for name, weights in losses.named_parameters() if "scales.2" in name)
    assert module.waves.weight.grad is not None and bool(module.waves.weight.grad[1].any())


# ---- the stage ----


def run(tokenizer: str, folder: Path, loss: dict[str, float], **changes: int) -> dict[str, dict[str, str]]:
    run_stages(voiced(tokenizer, loss, **changes), folder, "")
    return json.loads((folder / "voice" / "manifest.json").read_text())


def test_stage_trains_the_codec_alone(tokenizer: str, tmp_path: Path) -> None:
    record = run(tokenizer, tmp_path, {"stft": 1.0, "duration": 1.0})
    moved = {part for part, digest in record["weights_after"].items() if record["weights_before"][part] != digest}
    assert moved == {"speech.codec"} and set(record["weights_after"]) == {"speech.codec", "speech.units"}
    assert set(checkpoint.hashes(tmp_path / "voice" / WEIGHTS)[0]) == {"speech.codec"}


def test_losses_fall_and_every_step_is_a_row(tokenizer: str, tmp_path: Path) -> None:
    run(tokenizer, tmp_path, {"stft": 1.0, "duration": 1.0}, steps=60)
    with (tmp_path / "voice" / "metrics.csv").open() as file:
        table = list(csv.DictReader(file))
    assert len(table) == 60 and list(table[0])[:4] == ["step", "lr", "loss.stft", "loss.duration"]
    losses = [float(row["loss.duration"]) for row in table]
    assert sum(losses[-20:]) / 20 < 0.8 * sum(losses[:10]) / 10


def test_same_seed_gives_the_same_voice(tokenizer: str, tmp_path: Path) -> None:
    loss = {"mel": 1.0, "duration": 1.0, "adversarial": 1.0, "feature_matching": 2.0}
    records = []
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        records.append(run(tokenizer, tmp_path / name, loss, seed=seed)["weights_after"]["speech.codec"])
        torch.rand(7)  # whatever else a program draws
    assert records[0] == records[1] != records[2]


def test_discriminators_are_a_column_and_are_not_saved(tokenizer: str, tmp_path: Path) -> None:
    run(tokenizer, tmp_path, {"mel": 1.0, "duration": 1.0, "adversarial": 1.0})
    head = (tmp_path / "voice" / "metrics.csv").read_text().splitlines()[0]
    assert head.startswith("step,lr,loss.mel,loss.duration,loss.adversarial,loss.discriminator,lr.speech.codec,")
    assert set(checkpoint.hashes(tmp_path / "voice" / WEIGHTS)[0]) == {"speech.codec"}


def test_stage_labels_at_the_rate_of_the_units(tokenizer: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, sample_rate: int, device: str, limits: MediaLimits) -> None:
        raise RunError(f"labelled at {sample_rate}")

    plan = voiced(tokenizer, {"stft": 1.0, "duration": 1.0})
    speech = replace(plan.outputs["speech"], codec=Speaker(sample_rate=2 * RATE))
    monkeypatch.setattr("omnikit.training.fit.label", refuse)
    with pytest.raises(RunError, match=f"labelled at {RATE}$"):
        run_stages(replace(plan, outputs={**plan.outputs, "speech": speech}), tmp_path, "")


def test_finished_voice_is_not_trained_again(tokenizer: str, tmp_path: Path) -> None:
    plan = voiced(tokenizer, {"stft": 1.0, "duration": 1.0})
    run_stages(plan, tmp_path, "")
    assert all(row.skipped for row in run_stages(plan, tmp_path, ""))


def test_stopped_voice_goes_on_with_its_discriminators(tokenizer: str, tmp_path: Path) -> None:
    loss = {"mel": 1.0, "duration": 1.0, "adversarial": 1.0, "feature_matching": 2.0}
    plan = voiced(tokenizer, loss, steps=5)
    plan.stages["voice"].stage.trainer.save_every = 2
    run_stages(plan, tmp_path / "whole", "")
    with stopping(3, kill), pytest.raises(Killed):
        run_stages(plan, tmp_path / "resumed", "")
    run_stages(plan, tmp_path / "resumed", "")
    assert outcome(tmp_path / "resumed", "voice") == outcome(tmp_path / "whole", "voice")


def test_units_that_do_not_label_frames_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(FakeCodecModule, "label")
    with pytest.raises(RunError, match=r"FakeCodecModule makes codes, but does not say which frame has which"):
        label({"echo": EchoReader(EchoDataset())}, FakeCodecModule(9), Speaker(), lambda share: None, sample_rate=RATE)


def test_data_without_speech_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("omnikit.data.speech.answer_audio", lambda sample: [])
    with pytest.raises(DataError, match="Dataset echo has no spoken answer, but a vocoder learns from them"):
        label({"echo": EchoReader(EchoDataset())}, FakeCodecModule(9), Speaker(), lambda share: None, sample_rate=RATE)
