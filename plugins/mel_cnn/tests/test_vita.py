"""What VITA's encoder needs of mel_cnn: relative attention by its formula, chunk masks, statistics files, exact limits."""

import json
import math
from dataclasses import fields, replace
from pathlib import Path

import pytest
import torch
from omnikit_mel_cnn.cmvn import read_cmvn
from omnikit_mel_cnn.config import MelCnn
from omnikit_mel_cnn.layers import Attention, chunk_mask, drawn_chunks, sines
from omnikit_mel_cnn.model import MelCnnEncoder
from torch import Tensor
from torch.testing import assert_close
from torchaudio.compliance.kaldi import fbank

from omnikit.contracts.types import Signal
from omnikit.errors import DataError
from omnikit.recipe import presets

TINY = MelCnn(dim=16, layers=2, heads=2, ffn=24, channels=4, mel_bins=20, scale=32768.0, normalisation="fixed", embed=True,
              positions="relative")
CHUNKED = replace(TINY, chunk_size=3, left_chunks=1)


def waves(*lengths: int) -> Signal:
    """Random rows; what lies beyond a row's end is loud, so that a leak shows."""
    data = 0.1 * torch.randn(len(lengths), max(lengths), generator=torch.Generator().manual_seed(0))
    for row, length in enumerate(lengths):
        data[row, length:] = 1.0
    return Signal(data, torch.tensor(lengths))


def built(config: MelCnn) -> MelCnnEncoder:
    torch.manual_seed(0)
    return config.build().eval()


def made(preset: str) -> MelCnn:
    values = presets.preset_fields("encoder", preset)
    return MelCnn(**{name: value for name, value in values.items() if name != "use"})


def test_vita_s_size_is_the_published_one() -> None:
    with torch.device("meta"):
        encoder = made("mel_cnn_vita").build()
    assert sum(p.numel() for p in encoder.parameters()) == 357_950_464


def test_attention_is_vita_s_formula() -> None:
    torch.manual_seed(0)
    attention, x, mask = Attention(8, 2, relative=True), torch.randn(1, 5, 8), chunk_mask(5, 2, 0, torch.device("cpu"))
    positions, split = sines(0, 5, 8, x.device), (5, 2, 4)
    query, key, value, place = (
        project(part)[0].view(split) if part is x else project(part).view(split) for project, part in
        [(attention.query, x), (attention.key, x), (attention.value, x), (attention.position, positions)])
    scores = torch.einsum("qhd,khd->hqk", query + attention.bias_u, key)
    scores = (scores + torch.einsum("qhd,khd->hqk", query + attention.bias_v, place)) / math.sqrt(4)
    shares = scores.masked_fill(~mask, -65504.0).softmax(2).masked_fill(~mask, 0.0)  # float16's minimum, as VITA
    expected = attention.out(torch.einsum("hqk,khd->qhd", shares, value).flatten(1))
    assert_close(attention(x, mask[None, None], positions, None)[0][0], expected, atol=1e-6, rtol=1e-5)  # float32 noise


def test_query_without_keys_gives_nothing() -> None:
    attention, x = Attention(8, 2, relative=True), torch.randn(1, 3, 8)
    nothing = torch.zeros(1, 1, 3, 3, dtype=torch.bool)
    out = attention(x, nothing, sines(0, 3, 8, x.device), None)[0]
    assert_close(out, attention.out.bias.expand(1, 3, 8))


def test_chunk_mask_shows_own_and_left_chunks() -> None:
    own, left, every = (chunk_mask(5, 2, n, torch.device("cpu")).int().tolist() for n in (0, 1, None))
    assert own == [[1, 1, 0, 0, 0]] * 2 + [[0, 0, 1, 1, 0]] * 2 + [[0, 0, 0, 0, 1]]
    assert left == [[1, 1, 0, 0, 0]] * 2 + [[1, 1, 1, 1, 0]] * 2 + [[0, 0, 1, 1, 1]]
    assert every == [[1, 1, 0, 0, 0]] * 2 + [[1, 1, 1, 1, 0]] * 2 + [[1] * 5]


def test_drawn_chunks_keep_their_range() -> None:
    torch.manual_seed(0)
    draws = {drawn_chunks(80) for _ in range(600)}
    chunks = {chunk: left for chunk, left in draws if left is not None}
    assert (80, None) in draws and set(chunks) == set(range(1, 26))
    assert all(0 <= left <= 79 // chunk for chunk, left in chunks.items())


@pytest.mark.parametrize("config", [
    TINY, CHUNKED, replace(CHUNKED, concat=True, left_chunks=None), replace(CHUNKED, positions="absolute", left_chunks=0),
    replace(TINY, lead=True)], ids=["whole", "chunks", "concat", "absolute", "lead"])
def test_row_alone_equals_row_in_batch_at_its_exact_length(config: MelCnn) -> None:
    encoder, lengths = built(config), (16000, 7777, 1400)
    together = encoder(waves(*lengths))
    assert together.lengths.tolist() == [config.length(length) for length in lengths]
    for row, length in enumerate(lengths):
        alone = encoder(Signal(waves(*lengths).data[row : row + 1, :length], torch.tensor([length])))
        assert_close(together.data[row, : alone.lengths[0]], alone.data[0], atol=1e-5, rtol=1e-5)  # float32 noise


@pytest.mark.parametrize("lead", [False, True])
@pytest.mark.parametrize("chunk", [1, 3])
def test_lookahead_is_exact(chunk: int, lead: bool) -> None:
    encoder = built(replace(CHUNKED, chunk_size=chunk, lead=lead))
    wave, output = waves(16000).data, encoder.config.output
    first = 2 * chunk  # a chunk's first vector looks farthest ahead
    behind = round(float(first / output.rate + output.lookahead) * 16000)
    assert torch.equal(vectors(encoder, wave, behind)[first], vectors(encoder, wave, 16000)[first])
    assert not torch.equal(vectors(encoder, wave, behind - 1)[first], vectors(encoder, wave, 16000)[first])


def vectors(encoder: MelCnnEncoder, wave: Tensor, place: int) -> Tensor:
    """Give the vectors of a wave that is loud from `place` on."""
    loud = torch.where(torch.arange(wave.shape[1]) >= place, wave + 0.9, wave)
    data: Tensor = encoder(Signal(loud, torch.tensor([wave.shape[1]]))).data[0]
    return data


@pytest.mark.parametrize("fields", [{}, {"normalisation": "clip", "chunk_size": 4}, {"chunk_size": 4, "dynamic": "always"}])
def test_whole_clip_is_an_infinite_lookahead(fields: dict[str, object]) -> None:
    assert replace(TINY, **fields).output.lookahead == math.inf


@pytest.mark.parametrize(("dynamic", "training", "random"), [
    ("never", True, False), ("training", True, True), ("training", False, False), ("always", False, True)])
def test_chunks_are_drawn_only_where_asked(dynamic: str, training: bool, random: bool) -> None:
    encoder = built(replace(TINY, dynamic=dynamic)).train(training)
    torch.manual_seed(0)
    masks = {tuple(encoder.mask(30, torch.tensor([30])).expand(1, 1, 30, 30).flatten().tolist()) for _ in range(5)}
    assert (len(masks) > 1) == random


@pytest.mark.parametrize(("always", "random"), [(False, False), (True, True)])
def test_dither_outside_training_only_where_asked(always: bool, random: bool) -> None:
    encoder = built(replace(TINY, dither=1.0, dither_always=always))
    once, again = (encoder.mel_frames(waves(8000))[0] for _ in range(2))
    assert torch.equal(once, again) != random


def test_energy_floor_changes_no_mel_bin() -> None:
    quiet = 1e-4 * waves(8000).data
    assert torch.equal(fbank(quiet, num_mel_bins=20, energy_floor=0.0), fbank(quiet, num_mel_bins=20, energy_floor=1.0))


def test_every_parameter_learns() -> None:
    encoder = built(replace(CHUNKED, concat=True, dropout=0.1, dynamic="training")).train()
    out = encoder(waves(9000, 5000)).data
    (out * torch.randn(out.shape, generator=torch.Generator().manual_seed(0))).sum().backward()
    assert [n for n, p in encoder.named_parameters() if p.grad is None or not p.grad.any()] == []


def test_half_precision_and_autocast_stay_finite() -> None:
    encoder, signal = built(replace(CHUNKED, concat=True)), waves(9000, 1500)
    with torch.autocast("cpu", torch.bfloat16):
        out = encoder(signal).data
    out.float().square().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in encoder.parameters())
    assert encoder.to(torch.bfloat16)(signal).data.isfinite().all()


def test_fields_that_came_with_vita_leave_older_runs_their_hash() -> None:
    first = [f.name for f in fields(MelCnn) if not f.metadata.get("later")]
    assert first == ["dim", "layers", "heads", "ffn", "channels", "mel_bins", "frame_length_ms", "frame_shift_ms", "scale",
                     "dither", "normalisation", "dropout", "time_masks", "time_mask_width", "frequency_masks",
                     "frequency_mask_width", "gain_db"]


# ---- limits ----------------------------------------------------------------------------------------------------------


def test_longest_clip_has_a_sentence() -> None:
    longest = (4 * 5000 + 2) * 160 + 400 - 1  # one sample short of 5000 vectors
    assert TINY.length(longest) == 4999
    with pytest.raises(DataError, match=r"A clip is 200\.0 s long, which is 5000 frames, .* reach 4999, about 200 s; cut it"):
        TINY.length(longest + 1)
    assert replace(TINY, positions="absolute").length(longest + 1) == 5000


@pytest.mark.parametrize(("samples", "count"), [(640, 1), (1279, 1), (1280, 2), (16000, 25)])
def test_lead_gives_a_vector_every_40_ms(samples: int, count: int) -> None:
    config = replace(TINY, lead=True)
    assert config.length(samples) == count == built(config)(waves(samples)).data.shape[1]


def test_lead_too_short_has_a_sentence() -> None:
    with pytest.raises(DataError, match=r"A clip is 0\.040 s long, but mel_cnn needs at least 0\.040 s"):
        replace(TINY, lead=True).length(639)


@pytest.mark.parametrize(("fields", "message"), [
    ({"chunk_size": 0}, "chunk_size is 0, but must be at least 1, or null for the whole clip"),
    ({"chunk_size": 4, "left_chunks": -1}, "left_chunks is -1, but must be at least 0, or null for all"),
    ({"left_chunks": 2}, "left_chunks is 2, but without chunk_size there are no chunks"),
    ({"cmvn": "x", "normalisation": "clip"}, "cmvn is given, but normalisation is clip"),
    ({"chunk_size": 4, "restart": True}, "restart is true, but it shifts relative positions"),
    ({"lead": True, "frame_length_ms": 5}, "lead is true, but frame_length_ms, 5, is below frame_shift_ms, 10")])
def test_impossible_value_is_a_sentence(fields: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(TINY, **fields)


# ---- statistics ------------------------------------------------------------------------------------------------------

SUMS, SQUARES, FRAMES = [10.0, -4.0], [60.0, 8.0], 2  # means 5, -2; variances 5, 0
KALDI = " [\n 10 -4 2\n 60 8 0 ]\n"


@pytest.mark.parametrize("text", [json.dumps({"mean_stat": SUMS, "var_stat": SQUARES, "frame_num": FRAMES}), KALDI])
def test_statistics_become_mean_and_inverse_deviation(tmp_path: Path, text: str) -> None:
    (tmp_path / "global_cmvn").write_text(text)
    mean, istd = read_cmvn(str(tmp_path / "global_cmvn"), 2)
    assert mean == [5.0, -2.0]
    assert istd == pytest.approx([1 / math.sqrt(5), 1e10])  # a variance is at least 1e-20


def test_encoder_starts_with_the_statistics(tmp_path: Path) -> None:
    (tmp_path / "global_cmvn").write_text(f"[ {'3 ' * 20} 1 {'10 ' * 20} 0 ]")
    numbers = built(replace(TINY, cmvn=str(tmp_path / "global_cmvn"))).normalisation
    assert numbers.mean.tolist() == [3.0] * 20 and numbers.istd.tolist() == [1.0] * 20


@pytest.mark.parametrize(("content", "message"), [
    (b"\0BDM \4\2\0\0\0", "is a binary file of Kaldi; write it as text with `copy-matrix --binary=false`"),
    (b"global \0BDM \4", "is a binary file of Kaldi"),
    (b"hello", "holds no statistics"),
    (b"[ 1 2 3 ]", "the matrix has 3 numbers, which do not make two rows"),
    (b'{"mean_stat": [1]}', "holds no statistics"),
    (b'{"mean_stat": [1], "var_stat": [1], "frame_num": 1}', "has 1 sums and 1 sums of squares, but mel_bins is 2"),
    (b"[ 1 2 0 3 4 0 ]", "counts 0 frames")])
def test_file_that_is_no_statistics_is_a_sentence(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "global_cmvn").write_bytes(content)
    with pytest.raises(DataError, match=message):
        read_cmvn(str(tmp_path / "global_cmvn"), 2)


def test_missing_file_is_a_sentence() -> None:
    with pytest.raises(DataError, match=r"cmvn is 'nowhere', but it cannot be read \(No such file or directory\); give JSON"):
        read_cmvn("nowhere", 2)
