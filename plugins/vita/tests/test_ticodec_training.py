"""Codec `ticodec` under `objective: codec`: a tiny one that takes the waveform learns to use its codes without collapse."""

import torch
from omnikit_vita.ticodec import TiCodec
from omnikit_vita.ticodec_model import TiCodecModel
from torch import Tensor

from omnikit.data.speech import in_memory
from omnikit.training.codecs.codec import CodecDataset, CodecLosses, measured

SMALL = TiCodec(codes=64, dim=32, decay=0.95, channels=16, rates=(8, 5, 4), kernels=(16, 11, 8), block_kernels=(3,),
                block_dilations=((1, 3),), encoder_channels=8, global_dim=32, global_groups=2, global_codes=16,
                global_hidden=16, sample_rate=8000, segment=16)
STEPS, UNCODED, REVIVAL = 240, 36, 10
WEIGHTS = {"mel": 1.0, "stft": 1.0, "commitment": 0.25}


def talk(seed: int, seconds: float = 2.0) -> Tensor:
    """Sound in syllables: eight harmonics of a pitch between 100 and 250 Hz in one of twelve mixtures."""
    generator = torch.Generator().manual_seed(seed)
    vowels, pieces = torch.rand(12, 8, generator=torch.Generator().manual_seed(99)) ** 3, []
    while sum(map(len, pieces)) < seconds * SMALL.sample_rate:
        length = int(torch.randint(640, 1600, (), generator=generator))
        pitch = 100 + 150 * torch.rand((), generator=generator)
        time = torch.arange(length) / SMALL.sample_rate
        parts = torch.sin(2 * torch.pi * pitch * torch.arange(1, 9)[:, None] * time)
        piece = (vowels[torch.randint(12, (), generator=generator)][:, None] * parts).sum(0) * torch.hann_window(length)
        pieces.append(piece / piece.abs().max() / 2)
    return torch.cat(pieces)


def test_codec_that_takes_the_waveform_learns_to_use_its_codes() -> None:
    torch.manual_seed(0)
    module, waves = SMALL.build().train(), {"talk": in_memory([talk(seed) for seed in range(20)])}
    assert isinstance(module, TiCodecModel)
    teacher = CodecLosses(module, WEIGHTS, SMALL, lr=3e-3, batches=STEPS, uncoded=UNCODED, revival=REVIVAL, seed=0)
    optimizer = torch.optim.AdamW(module.parameters(), 3e-3, betas=(0.8, 0.99), weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, STEPS)
    segments = CodecDataset(waves, {"talk": 1.0}, 4, SMALL.segment * SMALL.hop, 0)
    for cuts in map(segments.batch, range(STEPS)):
        found = teacher(cuts)
        optimizer.zero_grad()
        torch.stack([WEIGHTS[name] * found[name] for name in WEIGHTS if name in found]).sum().backward()
        optimizer.step()
        schedule.step()
    numbers = measured(module.eval(), SMALL, waves, lambda share: None)
    # 0.80 and 32; with torch's random biases, and with codes that learn by a loss from the first step on, it collapses
    assert numbers["usage"] > 0.5 and numbers["perplexity"] > 15
