"""TiCodec: a wave to codes and a voice, and back. Uses no text and no file layout but its own weights.

Names of its public checkpoint: `encoder`, `quantizer`, `generator`. Source: arXiv:2310.00014.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch
from torch import Generator, Tensor, nn
from torch.nn.utils import parametrize

from omnikit.contracts.types import Reconstruction
from omnikit.errors import ConfigError, DataError, RunError
from omnikit.ops.empty import filled_from, loads_weights
from omnikit.ops.packed_conv import keep_compiled
from omnikit.ops.weight_cache import WeightCache
from omnikit.store.tensors import fill, in_memory
from omnikit_vita import ticodec_files, ticodec_layers
from omnikit_vita.ticodec import TiCodec
from omnikit_vita.ticodec_overlap import Overlapped
from omnikit_vita.ticodec_quantizer import Losses, Quantizer
from omnikit_vita.ticodec_streaming import ExactState, StreamingGenerator

Spoken = ExactState | Overlapped  # state of a waveform that is decoded piece by piece

PAST = 0.99  # fraction of the past in the mean of the training voices


class TiCodecModel(nn.Module):
    """Owns encoder, codebooks, generator, and the tokens of the voice that `decode` speaks with."""

    def __init__(self, config: TiCodec) -> None:
        super().__init__()
        self.config = config
        with filled_from(config.weights):
            self.encoder = ticodec_layers.Encoder(config)
            self.quantizer = Quantizer(config)
            self.generator = ticodec_layers.Generator(config)
        for layer in (*self.encoder.modules(), *self.generator.modules()):
            # torch's random biases add up to most of a frame, so that frames hardly differ, take the same few codes, and the
            # codec never learns to use more: perplexity 1.5 of 64 after 120 steps, 16.5 with biases that begin as 0
            if isinstance(layer, nn.Conv1d | nn.ConvTranspose1d) and layer.bias is not None:
                nn.init.zeros_(layer.bias)
        fixed = torch.tensor(config.voice or [0] * config.global_groups)
        self.register_buffer("voice", fixed, persistent=not config.voice)
        self.register_buffer("mean_voice", torch.zeros(config.global_dim), persistent=False)
        self.unused_parameters = ("quantizer",) if config.averages else ()  # moving averages, which no loss reaches
        self.voice: Tensor
        self.mean_voice: Tensor
        keep_compiled()
        self._streaming: WeightCache[StreamingGenerator] = WeightCache()
        if config.weights and loads_weights():
            self._load(config.weights)

    @torch.no_grad()
    def encode(self, wave: Tensor) -> Tensor:
        """Wave [N] to codes [T, Q] int64, T = N // samples of a frame."""
        return self.code(wave[None])[0][0] if len(wave) >= self.config.hop else self._none(wave.device)

    @torch.no_grad()
    def decode(self, codes: Tensor) -> Tensor:
        """Codes [T, Q] to a wave [T x samples of a frame] in [-1, 1], in the voice that is set."""
        codes = self.valid(codes)
        if not len(codes):
            return torch.zeros(0, device=codes.device)
        return self.speak(codes[None], self.voice[None])[0]

    @torch.no_grad()
    def init_state(self, batch: int = 1) -> Spoken:
        """Give the state of a wave of which nothing was spoken, in the voice that is set now; `batch` is 1."""
        assert batch == 1, "a state is of one wave"
        if self.config.stream == "overlap":
            return Overlapped(self.config, self.decode)
        return ExactState(self.quantizer.embed_voice(self.voice[None])[..., None, None])

    @torch.no_grad()
    def step(self, codes: Tensor, state: Spoken, *, last: bool = False) -> tuple[Tensor, Spoken]:
        """New codes [N, Q] after what `state` holds to the wave [M] that is certain now. Changes `state`."""
        codes = self.valid(codes)
        if isinstance(state, Overlapped):
            return state.step(codes, last=last), state
        generator = self._streaming.get(self.generator, lambda: StreamingGenerator(self.generator), check=state.layers is None)
        return generator.step(self.quantizer.embed_frames(codes[None]), state, last=last), state

    @torch.no_grad()
    def voice_tokens(self, wave: Tensor) -> Tensor:
        """Wave [N] to the tokens [global_groups] int64 of its voice.

        Raises:
            DataError: it is shorter than a frame.
        """
        if len(wave) < self.config.hop:
            raise DataError(f"The audio has {len(wave)} samples, but a voice needs at least {self.config.hop} at"
                            f" {self.config.sample_rate} Hz; take some seconds of speech.")
        return self.code(wave[None])[1][0]

    def code(self, waves: Tensor) -> tuple[Tensor, Tensor]:
        """Waves [B, N] to codes [B, T, Q] and tokens of the voice [B, global_groups]."""
        frames, voice = self.encoder(waves)
        return self.quantizer.frames(frames, Losses())[1], self.quantizer.tokens(voice)

    def speak(self, codes: Tensor, voice: Tensor) -> Tensor:
        """Codes [B, T, Q] and tokens [B, global_groups] to waves [B, T x samples of a frame]."""
        with parametrize.cached():
            waves: Tensor = self.generator(self.quantizer.embed_frames(codes), self.quantizer.embed_voice(voice))
        return waves

    # ---- training ----

    def reconstruct(self, waves: Tensor, *, quantise: bool = True) -> Reconstruction:
        """Waves [B, N], N whole frames, through the codes and back; see omnikit.contracts.protocols.TrainableCodec.

        Raises:
            DataError: in training mode, a batch of one; voices are normed over a batch.
        """
        if self.training and len(waves) < 2:
            raise DataError("The batch has 1 segment, but codec ticodec norms the voices of a batch; take a batch_size of at"
                            " least 2.")
        frames, voice = self.encoder(waves)
        codes, losses = None, Losses()
        if quantise:
            if self.training:
                self._follow(voice)
            frames, codes = self.quantizer.frames(frames, losses)
            voice, _ = self.quantizer.voice(voice, losses)
        elif self.training:
            self.quantizer.remember(frames, voice)
        return Reconstruction(self.generator(frames, voice), codes, losses.summed())

    def usage(self) -> dict[str, float]:
        """Give the codebook utilisation since the last `revive`: "codes" (of level 2 "codes_2"), "voice"."""
        return self.quantizer.usage()

    def revive(self, generator: Generator) -> int:
        """Move codes that were not drawn since the last call to recent encoder outputs; gives how many."""
        return self.quantizer.revive(generator)

    @torch.no_grad()
    def _follow(self, voices: Tensor) -> None:
        """Make the mean of the training voices the voice of the output, where no other is set."""
        mean = voices.detach().float().mean(0)
        self.mean_voice.copy_(torch.where(self.mean_voice.any(), PAST * self.mean_voice + (1 - PAST) * mean, mean))
        if not self.config.voice:
            self.voice.copy_(self.quantizer.tokens(self.mean_voice[None])[0])

    # ---- what comes in ----

    def _load(self, place: str) -> None:
        try:
            path = Path(place).expanduser()
            found = ticodec_files.stored(path)[0]
            if "voice" in self.state_dict():  # what the files do not hold
                found["voice"] = in_memory("voice", path, self.voice)
            fill(self, found, place, "codec ticodec", "give the codec the sizes of its model.json",
                 field="")
        except RunError as error:
            raise ConfigError(f"speech.codec.weights: {error}") from error
        if not self.config.voice:
            self._speak_as_published(Path(place).expanduser())

    def _speak_as_published(self, place: Path) -> None:
        try:
            voice = replace(self.config, voice=ticodec_files.voice(place)).voice
        except (RunError, TypeError, ValueError) as error:
            raise ConfigError(f"speech.codec.weights: the global_tokens beside {place} are no voice of this codec: {error};"
                              " give the codec the sizes of its model.json, or set speech.codec.voice.") from error
        if voice:
            self.voice.copy_(torch.tensor(voice))

    def valid(self, codes: Tensor) -> Tensor:
        """Give codes [T, Q] back; raises DataError where they are none of this codec's."""
        wanted = self.config.groups * self.config.levels
        if codes.shape[-1] != wanted or codes.ndim != 2:
            raise DataError(f"The codes have {codes.shape[-1]} codebooks, but codec ticodec has {wanted}; use codes of the same"
                            " codec.")
        if codes.numel() and not 0 <= int(codes.min()) <= int(codes.max()) < self.config.codes:
            worst = int(codes.min()) if int(codes.min()) < 0 else int(codes.max())
            raise DataError(f"code {worst} cannot be spoken: codec ticodec has codes 0 to {self.config.codes - 1}; use codes of"
                            " the same codec.")
        return codes

    def _none(self, device: torch.device) -> Tensor:
        return torch.zeros(0, self.config.groups * self.config.levels, dtype=torch.int64, device=device)
