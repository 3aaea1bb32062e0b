"""Codecs `mimi` and `dac` while they learn: what they compute, what moves, and how codes come back."""

import pytest
import torch
import torch.nn.functional as F
from omnikit_hf_codecs.config import Dac, Mimi
from omnikit_hf_codecs.model import DacCodec, MimiCodec
from omnikit_hf_codecs.quantizers import DECAY
from torch import Generator, Tensor
from torch.testing import assert_close

from omnikit.training.codecs.codec import CodecBatch, CodecLosses

MIMI = Mimi(4, cardinality=64, codebook_dim=8, width=4, dim=16, layers=1, heads=2, ffn=32)
DAC = Dac(16000, 4, use_codebooks=3, cardinality=64, ratios=(2, 4, 5, 8), width=2, decoder_width=32)
FRAMES = {"mimi": 1920, "dac": 320}


def made(name: str) -> MimiCodec | DacCodec:
    torch.manual_seed(5)
    return {"mimi": MIMI, "dac": DAC}[name].build()


def noise(rows: int, samples: int) -> Tensor:
    return 0.3 * torch.randn(rows, samples, generator=Generator().manual_seed(samples))


both = pytest.mark.parametrize("name", ["mimi", "dac"])


@both
@torch.no_grad()
def test_reconstruction_is_what_the_codes_decode_to(name: str) -> None:
    codec, waves = made(name), noise(2, 5 * FRAMES[name])
    found = codec.reconstruct(waves)
    assert found.codes is not None
    for row, wave in enumerate(waves):
        codes = codec.encode(wave)
        assert torch.equal(found.codes[row], codes)
        decoded = codec.decode(codes)  # of dac some samples shorter: one of its ratios is odd
        assert_close(found.waves[row, :len(decoded)].clamp(-1, 1), decoded, atol=1e-5, rtol=1e-4)


@torch.no_grad()
def test_losses_of_dac_are_the_library_s() -> None:
    codec, waves = made("dac"), noise(2, 5 * 320)
    theirs = codec.model.quantizer(codec.model.encoder(waves[:, None]), 3)
    losses = codec.reconstruct(waves).losses
    assert_close(losses["commitment"], theirs[3].mean() / 3)  # theirs are sums over codebooks, one for each row
    assert_close(losses["codebook"], theirs[4].mean() / 3)


@both
def test_gradients_pass_straight_through_to_the_encoder(name: str) -> None:
    codec, waves = made(name).train(), noise(2, 5 * FRAMES[name])
    codec.reconstruct(waves).waves.square().mean().backward()
    assert all(float(weight.grad.abs().sum()) > 0 for weight in codec.model.encoder.parameters() if weight.grad is not None)
    assert all(weight.grad is not None for weight in codec.model.encoder.parameters())


@torch.no_grad()
def test_codes_of_mimi_move_to_the_mean_of_their_vectors() -> None:
    codec, waves = made("mimi").train(), noise(2, 20 * 1920)
    book = codec.model.quantizer.semantic_residual_vector_quantizer.layers[0].codebook
    sums, mass = book.embed_sum.clone(), book.cluster_usage.clone()
    branch = codec.model.quantizer.semantic_residual_vector_quantizer
    vectors = branch.input_proj(codec.model.encoder(waves[:, None]).latents).transpose(1, 2).flatten(0, 1)
    codes = codec.reconstruct(waves).codes
    assert codes is not None
    drawn = F.one_hot(codes[..., 0].flatten(), 64).float()
    assert_close(book.embed_sum, DECAY * sums + (1 - DECAY) * drawn.T @ vectors)
    assert_close(book.cluster_usage, DECAY * mass + (1 - DECAY) * drawn.sum(0))


@both
@torch.no_grad()
def test_nothing_moves_in_eval_mode(name: str) -> None:
    codec = made(name).eval()
    before = {key: value.clone() for key, value in codec.state_dict().items()}
    codec.reconstruct(noise(2, 20 * FRAMES[name]))
    assert all(torch.equal(value, before[key]) for key, value in codec.state_dict().items())
    assert set(codec.usage().values()) == {0.0}


@both
@torch.no_grad()
def test_dead_codes_begin_again_at_recent_vectors(name: str) -> None:
    codec, waves = made(name).train(), noise(4, 200 * FRAMES[name])
    codec.reconstruct(waves)
    before = codec.usage()["codes"]
    assert before < 1
    assert codec.revive(Generator().manual_seed(0)) > 0
    codec.reconstruct(waves)
    assert codec.usage()["codes"] > before


@both
@torch.no_grad()
def test_batches_that_pass_the_codes_by_become_clusters(name: str) -> None:
    codec, waves = made(name).train(), noise(4, 200 * FRAMES[name])
    found = codec.reconstruct(waves, quantise=False)
    assert found.codes is None and found.losses == {} and found.waves.shape == waves.shape
    assert codec.revive(Generator().manual_seed(0)) >= 64
    codec.reconstruct(waves)
    assert codec.usage()["codes"] > 0.9


@both
def test_a_codec_learns_a_tone(name: str) -> None:
    codec, config = made(name).train(), {"mimi": MIMI, "dac": DAC}[name]
    length = 4 * FRAMES[name]
    time = torch.arange(length) / config.spec.sample_rate
    waves = torch.stack([0.3 * torch.sin(2 * torch.pi * pitch * time) for pitch in (200, 400, 800, 1600)])
    wanted = ("mel", "waveform", "commitment", *([] if config.averages else ["codebook"]))
    losses = CodecLosses(codec, wanted, config, lr=1e-3, batches=60, uncoded=0, seed=0)
    optimizer = torch.optim.AdamW(codec.parameters(), lr=3e-3)
    batch, curve = CodecBatch(waves), list[float]()
    for _ in range(60):
        found = losses(batch)
        optimizer.zero_grad()
        torch.stack([found[key] for key in wanted]).sum().backward()
        optimizer.step()
        curve.append(float(found["mel"].detach()))
    assert curve[-1] < 0.6 * curve[0]
