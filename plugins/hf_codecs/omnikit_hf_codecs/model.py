"""Codecs `mimi` and `dac` around transformers' own networks; an `objective: codec` stage trains them whole."""

from typing import TYPE_CHECKING

import torch
from torch import Generator, Tensor, nn
from torch.nn import functional as F
from transformers import DacConfig, DacModel, MimiConfig, MimiModel, PreTrainedModel
from transformers.models.mimi.modeling_mimi import MimiEuclideanCodebook

from omnikit.contracts.types import Reconstruction
from omnikit.errors import ConfigError, DataError
from omnikit.ops.codebook_usage import CodebookUsage
from omnikit.ops.empty import loads_weights
from omnikit_hf_codecs.config import MIMI_CODEBOOKS, MIMI_RATE, MIMI_RATIOS, Dac, Mimi
from omnikit_hf_codecs.quantizers import DacQuantizers, MimiQuantizers, usage_of
from omnikit_hf_codecs.streaming import MimiState, decode

if TYPE_CHECKING:
    from omnikit.contracts.specs import CodecSpec

CODEBOOK_SPREAD = 1.0  # of a random codebook's vectors; the library begins with zeros, of which every code is the first


class TrainedCodec(nn.Module):
    """What both codecs share while they learn; see omnikit.contracts.protocols.TrainableCodec.

    Args:
        spec: of the codec.
        dim: width of a codebook's vectors.
    """

    def __init__(self, spec: "CodecSpec", dim: int) -> None:
        super().__init__()
        self.spec = spec
        self.usages = nn.ModuleList(CodebookUsage(spec.cardinality, dim) for _ in range(spec.codebooks))

    def reconstruct(self, waves: Tensor, *, quantise: bool = True) -> Reconstruction:
        """Waves [B, N], N whole frames, through the codes and back."""
        latents, quantizers = self._latents(waves), self._quantizers()
        if not quantise:
            return Reconstruction(self._waves(quantizers.unquantised(latents, learn=self.training), waves), None, {})
        latents, codes, losses = quantizers(latents, learn=self.training)
        return Reconstruction(self._waves(latents, waves), codes, losses)

    def usage(self) -> dict[str, float]:
        """Give the codebook utilisation since the last `revive`: "codes" of the first codebook, "codes_2" of the second."""
        return usage_of(self._usages)

    def revive(self, generator: Generator) -> int:
        """Move codes that were not drawn since the last call to recent latents; gives how many."""
        return self._quantizers().revive(generator)

    @property
    def _usages(self) -> list[CodebookUsage]:
        return [usage for usage in self.usages if isinstance(usage, CodebookUsage)]

    def _latents(self, waves: Tensor) -> Tensor:
        """Waves [B, N] to what is quantised [B, D, T]."""
        raise NotImplementedError

    def _quantizers(self) -> MimiQuantizers | DacQuantizers:
        raise NotImplementedError

    def _waves(self, latents: Tensor, like: Tensor) -> Tensor:
        """Latents [B, D, T] to waves as long as others [B, N]."""
        raise NotImplementedError


class MimiCodec(TrainedCodec):
    """Owns transformers' MimiModel."""

    def __init__(self, config: Mimi) -> None:
        super().__init__(config.spec, config.codebook_dim)
        if config.weights is not None and loads_weights():
            model = _load(MimiModel, mimi_config(config), config.weights, "mimi")
            assert isinstance(model, MimiModel), "of that class"
        else:
            model = MimiModel(mimi_config(config))
        self.model = model
        if config.weights is None:
            for name, buffer in self.model.named_buffers():
                if name.endswith("embed_sum"):
                    nn.init.normal_(buffer, std=CODEBOOK_SPREAD)
        self.eval()

    @torch.no_grad()
    def encode(self, wave: Tensor) -> Tensor:
        """Wave [N] in [-1, 1] to codes [T, Q], T = ceil(N / 1920)."""
        if not len(wave):
            return torch.zeros(0, self.spec.codebooks, dtype=torch.int64, device=wave.device)
        self._renew()
        codes: Tensor = self.model.encode(wave[None, None], num_quantizers=self.spec.codebooks).audio_codes
        return codes[0].T

    @torch.no_grad()
    def decode(self, codes: Tensor) -> Tensor:
        """Codes [T, Q] to a wave [T x 1920]."""
        codes = _valid(codes, self.spec, "mimi")
        if not len(codes):
            return torch.zeros(0, device=codes.device)
        self._renew()
        wave: Tensor = self.model.decode(codes.T.contiguous()[None]).audio_values
        return wave[0, 0].clamp(-1, 1)

    def init_state(self, batch: int) -> MimiState:
        """Give the state of one wave of which nothing was spoken."""
        return MimiState()

    @torch.no_grad()
    def step(self, codes: Tensor, state: MimiState, *, last: bool = False) -> tuple[Tensor, MimiState]:
        """Codes [T, Q] behind those before to their samples [T x 1920]; Mimi looks back only. Changes `state`."""
        codes, wave = _valid(codes, self.spec, "mimi"), torch.zeros(0, device=codes.device)
        if len(codes):
            assert self.model.decoder is not None, "built with both halves"
            self._renew()
            latents = self.model.quantizer.decode(codes.T.contiguous()[None])
            wave = decode(self.model.decoder, latents, state)[0, 0].clamp(-1, 1)
        return wave, MimiState() if last else state

    def _latents(self, waves: Tensor) -> Tensor:
        assert self.model.encoder is not None, "built with both halves"
        found: Tensor = self.model.encoder(waves[:, None]).latents
        return found

    def _quantizers(self) -> MimiQuantizers:
        return MimiQuantizers(self.model, self._usages)

    def _waves(self, latents: Tensor, like: Tensor) -> Tensor:
        assert self.model.decoder is not None, "built with both halves"
        found: Tensor = self.model.decoder(latents).audio_values
        return found[:, 0, :like.shape[1]]

    def _renew(self) -> None:
        """Drop the vectors that the library keeps of each codebook: they outlive loaded weights and moves between devices."""
        for module in self.model.modules():
            if isinstance(module, MimiEuclideanCodebook):
                module._embed = None


class DacCodec(TrainedCodec):
    """Owns transformers' DacModel."""

    def __init__(self, config: Dac) -> None:
        super().__init__(config.spec, config.codebook_dim)
        self.hop = config.hop
        self.unused_parameters = tuple(
            f"model.quantizer.quantizers.{index}" for index in range(config.spec.codebooks, config.codebooks))
        if config.weights is not None and loads_weights():
            model = _load(DacModel, dac_config(config), config.weights, "dac")
            assert isinstance(model, DacModel), "of that class"
        else:
            model = DacModel(dac_config(config))
        self.model = model
        self.eval()

    @torch.no_grad()
    def encode(self, wave: Tensor) -> Tensor:
        """Wave [N] in [-1, 1] to codes [T, Q], T = ceil(N / hop): zeros fill the last frame, as in the library."""
        if not len(wave):
            return torch.zeros(0, self.spec.codebooks, dtype=torch.int64, device=wave.device)
        padded = F.pad(wave, (0, -len(wave) % self.hop))
        codes: Tensor = self.model.encode(padded[None, None], n_quantizers=self.spec.codebooks).audio_codes
        return codes[0].T

    @torch.no_grad()
    def decode(self, codes: Tensor) -> Tensor:
        """Codes [T, Q] to the library's wave, which may miss some samples of T x hop where a ratio is odd."""
        codes = _valid(codes, self.spec, "dac")
        if not len(codes):
            return torch.zeros(0, device=codes.device)
        wave: Tensor = self.model.decode(audio_codes=codes.T.contiguous()[None]).audio_values
        return wave[0].clamp(-1, 1)

    def _latents(self, waves: Tensor) -> Tensor:
        found: Tensor = self.model.encoder(waves[:, None])
        return found

    def _quantizers(self) -> DacQuantizers:
        return DacQuantizers(self.model, self._usages)

    def _waves(self, latents: Tensor, like: Tensor) -> Tensor:
        found: Tensor = self.model.decoder(latents)[:, 0]
        return F.pad(found[:, :like.shape[1]], (0, max(like.shape[1] - found.shape[1], 0)))


def mimi_config(config: Mimi) -> MimiConfig:
    """Give transformers' configuration of these sizes."""
    return MimiConfig(
        sampling_rate=MIMI_RATE, hidden_size=config.dim, num_filters=config.width, upsampling_ratios=list(MIMI_RATIOS),
        codebook_size=config.cardinality, codebook_dim=config.codebook_dim, num_quantizers=MIMI_CODEBOOKS,
        vector_quantization_hidden_dimension=config.codebook_dim, upsample_groups=config.dim, num_hidden_layers=config.layers,
        intermediate_size=config.ffn, num_attention_heads=config.heads, num_key_value_heads=config.heads,
        head_dim=config.dim // config.heads, sliding_window=config.window)


def dac_config(config: Dac) -> DacConfig:
    """Give transformers' configuration of these sizes."""
    return DacConfig(
        encoder_hidden_size=config.width, downsampling_ratios=list(config.ratios), decoder_hidden_size=config.decoder_width,
        n_codebooks=config.codebooks, codebook_size=config.cardinality, codebook_dim=config.codebook_dim,
        sampling_rate=config.sample_rate)


def _load(cls: type[PreTrainedModel], config: MimiConfig | DacConfig, folder: str, name: str) -> PreTrainedModel:
    """Give the model filled from a folder; raises ConfigError where they do not fit."""
    try:
        found: object = cls.from_pretrained(
            folder, config=config, local_files_only=True, dtype=torch.float32, output_loading_info=True)
    except (OSError, RuntimeError, ValueError) as error:
        reason = str(error).strip().splitlines()[-1]
        raise ConfigError(f"{name}.weights: {folder} does not fit a {name} of these sizes ({reason}); give the folder that"
                          " transformers' save_pretrained wrote and the sizes of its config.json.") from error
    assert isinstance(found, tuple), "of the model and what was loaded"
    model: PreTrainedModel = found[0]
    missing: list[str] = sorted(found[1]["missing_keys"])
    if missing:
        raise ConfigError(f"{name}.weights: {folder} lacks {len(missing)} tensors, {missing[0]} first; give the folder of a"
                          f" complete {name}.")
    return model


def _valid(codes: Tensor, spec: "CodecSpec", name: str) -> Tensor:
    if codes.ndim != 2 or codes.shape[1] != spec.codebooks:
        raise DataError(f"codes of shape {list(codes.shape)} cannot be decoded: codec {name} has {spec.codebooks} codebooks;"
                        f" give [T, {spec.codebooks}].")
    if codes.numel() and not 0 <= int(codes.min()) <= int(codes.max()) < spec.cardinality:
        raise DataError(f"codes from {int(codes.min())} to {int(codes.max())} cannot be decoded: codec {name} has codes 0 to"
                        f" {spec.cardinality - 1}; use codes of the same codec.")
    return codes
