"""Codecs: random audio to codes, and random codes to audio. A codec that is fitted is fitted to noise once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from omnikit.contracts.specs import CodecSpec
from omnikit.testing.probe import Probe, Row, to_random_targets
from omnikit.testing.results import CheckFailure, NotApplicable

SECONDS = (0.8, 0.5)  # of the audio of each row
CODES = (20, 13)  # frames of codes of each row
FIT_SECONDS, FIT_CLIPS = 2.0, 4  # of noise that a codec is fitted to
LOUDNESS = 0.1
TRAINED = 16  # frames of audio that a codec is trained on at once


class CodecProbe(Probe):
    """Waveforms to codes and back. A row is a waveform [N] and codes [T, Q]; rows are run one by one."""

    _fitted: dict[str, Tensor] | None = None

    @property
    def spec(self) -> CodecSpec:
        """Its handshake."""
        found: CodecSpec = self.config.spec
        return found

    def make(self) -> Any:
        return self.config.build()

    def rows(self, seed: int = 0) -> list[Row]:
        generator = torch.Generator().manual_seed(seed)
        return [(self.clip(seconds, generator), self.codes(count, generator))
                for seconds, count in zip(SECONDS, CODES, strict=True)]

    def clip(self, seconds: float, generator: torch.Generator) -> Tensor:
        """Give noise [N] of so many seconds."""
        return LOUDNESS * torch.randn(int(seconds * self.spec.sample_rate), generator=generator)

    def codes(self, frames: int, generator: torch.Generator) -> Tensor:
        """Give random codes [T, Q], none as the one before where runs are merged."""
        steps = torch.randint(1, max(2, self.spec.cardinality), (frames, self.spec.codebooks), generator=generator)
        return steps.cumsum(0) % self.spec.cardinality

    def outputs(self, module: Any, rows: Sequence[Row]) -> list[Row]:
        found = []
        for wave, codes in rows:
            made = (module.encode(wave),) if self.config.encodes else ()
            found.append((*made, module.decode(codes)) if self.config.decodes else made)
        return found

    def prepared(self, module: nn.Module) -> nn.Module:
        if "units" not in self.config.objectives:
            return module
        if self._fitted is None:
            generator = torch.Generator().manual_seed(3)
            clips = [self.clip(FIT_SECONDS, generator) for _ in range(FIT_CLIPS)]
            fit = getattr(module, "fit", None)
            if fit is None:
                raise CheckFailure("its objectives name units, but its module has no `fit`")
            fit(clips, generator, lambda fraction: None)
            self._fitted = {name: tensor.clone() for name, tensor in module.state_dict().items()}
        module.load_state_dict(self._fitted)
        return module

    def loss(self, module: Any, rows: Sequence[Row]) -> Tensor:
        """Give the loss of what a stage trains by gradients: a vocoder, or a codec as a whole."""
        if "codec" in self.config.objectives:
            return self._reconstruction_loss(module, rows)
        if "vocoder" not in self.config.objectives:
            raise NotApplicable("no stage trains it by gradients")
        codes = torch.stack([row[1][:min(CODES)] for row in rows])
        found = [module.generate(codes)]
        if self.spec.merged:
            found.append(module.log_durations(codes, torch.ones(codes.shape[:2], dtype=torch.bool)))
        return to_random_targets(found)

    def _reconstruction_loss(self, module: Any, rows: Sequence[Row]) -> Tensor:
        frame = int(self.spec.sample_rate / self.spec.rate)
        samples = TRAINED * frame
        waves = torch.stack([row[0].repeat(1 + samples // len(row[0]))[:samples] for row in rows])
        made = module.reconstruct(waves)
        return to_random_targets([made.waves]) + sum(made.losses.values(), torch.zeros(()))
