"""A stage with `objective: codec` on doubles: what it is trained on and by, and how codes come and come back."""

import csv
import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from doubles import RATE, make_plan, write_tokenizer
from stopping import Killed, kill, outcome, stopping
from torch import Generator, Tensor, nn

from omnikit.contracts.configs import VocoderConfig
from omnikit.contracts.protocols import TrainableCodec
from omnikit.contracts.specs import CodecSpec
from omnikit.contracts.types import ContentPart, Message, Reconstruction, Sample
from omnikit.data.speech import in_memory
from omnikit.errors import DataError, RunError
from omnikit.plan.plan import Plan
from omnikit.plan.stage_plan import Wiring
from omnikit.plan.stages import plan_stages
from omnikit.recipe.optim import Optim
from omnikit.recipe.recipe import Stage, TrainerConfig
from omnikit.store import checkpoint
from omnikit.store.runs import WEIGHTS
from omnikit.training.codecs.codec import REVIVAL, CodecBatch, CodecDataset, CodecLosses, measured, perplexity, speech
from omnikit.training.codecs.spectral_losses import ScaledMelLoss, STFTLoss
from omnikit.training.stage import run_stages


@dataclass(frozen=True)
class Learner:
    """Frames of 5 samples, each coded by the nearest of `size` vectors, which learn by a loss."""

    size: int = 16
    segment: int = 4
    discriminator_dim: int = 4
    weights: str | None = None
    encodes: bool = True
    decodes: bool = True
    objectives: tuple[str, ...] = ("codec",)

    @property
    def spec(self) -> CodecSpec:
        return CodecSpec(RATE, Fraction(RATE, 5), 1, self.size)

    def build(self) -> nn.Module:
        return LearnerModule(self.size)


class LearnerModule(nn.Module):
    def __init__(self, size: int = 16) -> None:
        super().__init__()
        self.into, self.table, self.back = nn.Linear(5, 3), nn.Embedding(size, 3), nn.Linear(3, 5)
        self.calls: list[object] = []  # what was asked of it, in order

    def reconstruct(self, waves: Tensor, *, quantise: bool = True) -> Reconstruction:
        self.calls.append(quantise)
        x = self.into(waves.unflatten(1, (-1, 5)))
        if not quantise:
            return Reconstruction(self.back(x).flatten(1), None, {})
        codes = torch.cdist(x, self.table.weight).argmin(-1)
        found = self.table(codes)
        losses = {"codebook": F.mse_loss(found, x.detach()), "commitment": F.mse_loss(x, found.detach())}
        return Reconstruction(self.back(x + (found - x).detach()).flatten(1), codes[..., None], losses)

    def encode(self, wave: Tensor) -> Tensor:
        return torch.cdist(self.into(wave[: len(wave) // 5 * 5].view(-1, 5)), self.table.weight).argmin(-1)[:, None]

    def decode(self, codes: Tensor) -> Tensor:
        wave: Tensor = self.back(self.table(codes[:, 0])).flatten()
        return wave

    def usage(self) -> dict[str, float]:
        return {"codes": 0.25}

    def revive(self, generator: Generator) -> int:
        self.calls.append("revive")
        return 3


class Averaged(LearnerModule):
    """Codes that no loss moves."""

    def reconstruct(self, waves: Tensor, *, quantise: bool = True) -> Reconstruction:
        made = super().reconstruct(waves, quantise=quantise)
        return replace(made, losses={"commitment": made.losses["commitment"]})


@dataclass
class Talk:
    """Rows of one question and perhaps one answer, as waves at RATE."""

    rows: list[tuple[list[float], list[float] | None]] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> Sample:
        asked, answered = (wave and ContentPart("audio", audio=np.array(wave, dtype=np.float32), sample_rate=RATE)
                           for wave in self.rows[index])
        answer = (answered,) if isinstance(answered, ContentPart) else (ContentPart("text", text="yes"),)
        assert isinstance(asked, ContentPart)
        return Sample(str(index), (Message("user", (asked,)), Message("assistant", answer)))


def losses(module: TrainableCodec, wanted: Sequence[str], uncoded: int = 0, batches: int = 1000) -> CodecLosses:
    return CodecLosses(module, wanted, Learner(), lr=1e-3, batches=batches, uncoded=uncoded, seed=0)


def cuts(seed: int = 0) -> CodecBatch:
    return CodecBatch(0.3 * torch.randn(3, 20, generator=torch.Generator().manual_seed(seed)))


# ---- what it is trained on ----


def test_doubles_keep_the_contracts() -> None:
    config: VocoderConfig = Learner()  # mypy holds both against the protocols
    module: TrainableCodec = LearnerModule()
    assert config.objectives == ("codec",) and module.usage()


def test_answers_are_used_once_and_questions_where_no_answer_is_spoken() -> None:
    readers = {"spoken": Talk([([0.1, 0.2], [0.3]), ([0.4], [0.3]), ([0.5], None)]), "asked": Talk([([0.6, 0.7], None)])}
    found = speech(readers, RATE, lambda share: None)
    assert [[wave.tolist() for wave in rows] for rows in found.values()] == [
        [pytest.approx([0.3])], [pytest.approx([0.6, 0.7])]]


def test_data_without_speech_is_refused() -> None:
    with pytest.raises(DataError, match="Dataset empty has no speech, but a codec learns from it; take another dataset"):
        speech({"empty": Talk()}, RATE, lambda share: None)


def test_segments_are_pieces_of_waves_and_end_in_silence() -> None:
    long, short = torch.arange(1.0, 31.0), torch.tensor([-1.0, -2.0])
    segments = CodecDataset({"talk": in_memory([long, short])}, {"talk": 1.0}, 8, 4, seed=0)
    for batch in map(segments.batch, range(len(segments))):
        for row in batch.waves:
            assert row.tolist() == [-1, -2, 0, 0] or torch.equal(row, torch.arange(float(row[0]), float(row[0]) + 4))


def test_shares_hold_whatever_the_sizes() -> None:
    waves = {"few": in_memory([torch.full((9,), 1.0)]), "many": in_memory([torch.full((50,), 2.0)] * 40)}
    segments = CodecDataset(waves, {"few": 3.0, "many": 1.0}, 40, 2, seed=0)
    first = torch.cat([segments.batch(number).waves[:, 0] for number in range(len(segments))])
    assert float((first == 1).float().mean()) == pytest.approx(0.75, abs=0.15)


# ---- what it learns by ----


def test_losses_are_those_of_what_comes_back() -> None:
    module, batch = LearnerModule(), cuts()
    found = losses(module, ("waveform", "mel", "stft", "codebook", "commitment"))(batch)
    made = module.reconstruct(batch.waves)
    assert torch.equal(found["waveform"], (made.waves - batch.waves).abs().mean())
    assert torch.equal(found["mel"], ScaledMelLoss(RATE)(made.waves, batch.waves))
    assert torch.equal(found["stft"], STFTLoss()(made.waves, batch.waves))
    assert torch.equal(found["codebook"], made.losses["codebook"]) and set(found) == {
        "waveform", "mel", "stft", "codebook", "commitment"}


def test_discriminators_are_among_the_numbers_where_they_are_wanted() -> None:
    torch.manual_seed(0)
    found = losses(LearnerModule(), ("mel", "codebook", "adversarial"))(cuts())
    assert found["adversarial"].requires_grad and not found["discriminator"].requires_grad
    assert "feature_matching" not in found


def test_codes_are_passed_by_at_first_and_then_start_again() -> None:
    module = LearnerModule()
    teacher = losses(module, ("mel", "codebook"), uncoded=2)
    found = [teacher(cuts()) for _ in range(4)]
    assert module.calls == [False, False, "revive", True, True]
    assert ["codebook" in numbers for numbers in found] == [False, False, True, True]


def test_unused_codes_are_revived_every_so_many_batches() -> None:
    module, batch = LearnerModule(), cuts()
    teacher = losses(module, ("mel", "codebook"))
    found = [teacher(batch) for _ in range(2 * REVIVAL)]
    assert [index for index, numbers in enumerate(found) if "revived" in numbers] == [REVIVAL - 1, 2 * REVIVAL - 1]
    counts = torch.bincount(module.reconstruct(batch.waves).codes.flatten(), minlength=16)[None].float()
    last = found[-1]
    assert (float(last["usage_codes"]), float(last["revived"])) == (0.25, 3.0)
    assert float(last["perplexity"]) == pytest.approx(perplexity(counts))


def test_no_code_is_revived_near_the_end() -> None:
    module = LearnerModule()
    teacher = losses(module, ("mel", "codebook"), batches=3 * REVIVAL)
    found = [numbers for _ in range(3 * REVIVAL) if "revived" in (numbers := teacher(cuts()))]
    assert [float(numbers["revived"]) for numbers in found] == [3.0, 3.0, 0.0]  # the last tenth of 150 batches may not
    assert module.calls.count("revive") == 2 and float(found[-1]["usage_codes"]) == 0.25


def test_perplexity_is_how_many_codes_drawn_equally_often_vary_as_much() -> None:
    assert perplexity(torch.tensor([[5.0] * 8 + [0.0] * 8])) == pytest.approx(8)
    assert perplexity(torch.tensor([[9.0, 0.0], [1.0, 1.0]])) == pytest.approx((1 + 2) / 2)


def test_losses_that_do_not_fit_how_codes_learn_are_refused() -> None:
    with pytest.raises(RunError, match=r"weighs loss\.codebook, but the codec's codes are moving averages"):
        losses(Averaged(), ("mel", "codebook"))(cuts())
    with pytest.raises(RunError, match=r"codes learn by a loss, but the stage has no loss\.codebook.*add codebook: 1\.0"):
        losses(LearnerModule(), ("mel",))(cuts())


def test_finished_codec_is_measured_by_its_own_codes() -> None:
    module = LearnerModule()
    wave = 0.1 * torch.randn(40, generator=torch.Generator().manual_seed(1))
    numbers = measured(module, Learner(), {"talk": [wave]}, lambda share: None)
    assert numbers["usage"] == len(module.encode(wave).unique()) / 16
    with torch.no_grad():
        module.into.weight.zero_()
    assert measured(module, Learner(), {"talk": [wave]}, lambda share: None)["perplexity"] == 1


def test_a_wave_shorter_than_a_frame_is_measured_as_nothing() -> None:
    wave = 0.1 * torch.randn(40, generator=torch.Generator().manual_seed(1))
    numbers = [measured(LearnerModule(), Learner(), {"talk": waves}, lambda share: None) for waves in ([wave[:3]], [wave])]
    assert numbers[0] == {"usage": 0.0, "perplexity": 1.0} and "mel_distance" in numbers[1]


# ---- the stage ----


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> str:
    return write_tokenizer(tmp_path_factory.mktemp("tokenizer"))


def taught(tokenizer: str, steps: int = 60, seed: int = 0) -> Plan:
    """Give the doubles' plan with one stage, which trains a Learner on EchoDataset's answers."""
    plan = make_plan(tokenizer, only={}, seed=seed)
    outputs = {**plan.outputs, "speech": replace(plan.outputs["speech"], codec=Learner(), codes=Learner().spec)}
    only = {"sound": Stage(objective="codec", train={"speech": {"codec": "full"}}, data={"echo": 1.0},
                           loss={"waveform": 1.0, "codebook": 1.0, "commitment": 0.25}, optim=Optim(lr=1e-2),
                           trainer=TrainerConfig(max_steps=steps, batch_size=4, log_every=10))}
    parts = ("audio.encoder", "audio.projector", "backbone", "text.head", "speech.head", "speech.codec", "transcript.head")
    errors: list[str] = []
    planned = plan_stages(only, Wiring(plan.inputs, outputs, plan.backbone, plan.readers, parts), errors)
    assert not errors, errors
    return replace(plan, outputs=outputs, stages=planned, recipe=replace(plan.recipe, stages=only))


def test_stage_trains_the_codec_alone_and_records_what_it_reached(tokenizer: str, tmp_path: Path) -> None:
    [row] = run_stages(taught(tokenizer), tmp_path, "")
    record = json.loads((tmp_path / "sound" / "manifest.json").read_text())
    assert set(record["weights_after"]) == set(checkpoint.hashes(tmp_path / "sound" / WEIGHTS)[0]) == {"speech.codec"}
    assert record["weights_after"] != record["weights_before"] and row.steps == 60
    assert {"waveform", "mel_distance", "usage", "perplexity"} <= set(record["numbers"])
    assert 0 < record["numbers"]["usage"] <= 1


def test_losses_fall_and_codes_have_columns(tokenizer: str, tmp_path: Path) -> None:
    run_stages(taught(tokenizer), tmp_path, "")
    with (tmp_path / "sound" / "metrics.csv").open() as file:
        table = list(csv.DictReader(file))
    assert list(table[0])[:8] == ["step", "lr", "loss.waveform", "loss.codebook", "loss.commitment", "loss.usage_codes",
                              "loss.perplexity", "loss.revived"]
    assert float(table[-1]["loss.waveform"]) < 0.8 * float(table[0]["loss.waveform"])
    assert [row["loss.revived"] for row in table] == ["", "", "", "", "", "0"]  # six batches of 60 pass the codes by


def test_same_seed_gives_the_same_codec(tokenizer: str, tmp_path: Path) -> None:
    records = []
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        run_stages(taught(tokenizer, steps=3, seed=seed), tmp_path / name, "")
        records.append(checkpoint.hashes(tmp_path / name / "sound" / WEIGHTS)[0]["speech.codec"])
        torch.rand(7)  # whatever else a program draws
    assert records[0] == records[1] != records[2]


def test_codec_that_goes_on_from_weights_keeps_its_codes(tokenizer: str, tmp_path: Path,
                                                         monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    monkeypatch.setattr(CodecLosses, "forward", lambda self, cuts: seen.append(self.uncoded) or {
        "waveform": sum(weights.sum() for weights in self._codec[0].parameters())})
    plan = taught(tokenizer, steps=20)
    run_stages(plan, tmp_path, "")
    (tmp_path / "file").write_text("read by no one")
    given = replace(plan.outputs["speech"], codec=Learner(weights=str(tmp_path / "file")))
    run_stages(replace(plan, outputs={**plan.outputs, "speech": given}), tmp_path / "again", "")
    assert (seen[0], seen[-1]) == (2, 0)


def test_stopped_codec_goes_on_with_its_counts(tokenizer: str, tmp_path: Path) -> None:
    plan = taught(tokenizer, steps=REVIVAL + 10)
    [stage] = plan.stages.values()
    stage.stage.trainer.save_every = 4
    run_stages(plan, tmp_path / "whole", "")
    with stopping(9, kill), pytest.raises(Killed):
        run_stages(plan, tmp_path / "resumed", "")
    run_stages(plan, tmp_path / "resumed", "")
    assert outcome(tmp_path / "resumed", stage.name) == outcome(tmp_path / "whole", stage.name)
