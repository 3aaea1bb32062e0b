"""Towers and projectors that stand in one class of transformers alone, by its configuration. Imports no torch."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import TYPE_CHECKING, Literal

from omnikit.contracts.footprint import Footprint
from omnikit.contracts.specs import LATER, FeatureSpec, ImageSpec, SignalSpec
from omnikit.errors import DataError
from omnikit_hf_models import footprints

if TYPE_CHECKING:
    from torch import nn

SAMPLE_RATE, HOP = 16000, 160  # Hz; samples between two mel frames
CLASS_TOKENS = {"internvl_vision": 1, "blip_2_vision_model": 1, "instructblip_vision_model": 1,
                "idefics3_vision": 0, "smolvlm_vision": 0}
"""Vectors before the patches, by the towers there are."""
GIVEN = {"blip_2_vision_model": 1, "instructblip_vision_model": 1}
"""Of these, those among the features."""
TINY_IMAGES: dict[str, object] = {
    "model_type": "internvl_vision", "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4,
    "intermediate_size": 64, "image_size": [64, 64], "patch_size": [16, 16]}
TINY_AUDIO: dict[str, object] = {
    "model_type": "qwen2_audio_encoder", "d_model": 32, "encoder_layers": 2, "encoder_attention_heads": 4,
    "encoder_ffn_dim": 64, "num_mel_bins": 80, "max_source_positions": 1500}


@dataclass(frozen=True)
class HFImageTower:
    """The image tower of an InternVL, a BLIP-2, an Idefics3 or a SmolVLM, transformers' own module.

    Args:
        config: its configuration, as the vision_config of a folder; `model_type` is one of CLASS_TOKENS.
        edge: what the shortest edge is resized to before the centre is cut out; null: the size of its images.
        fit: how an image becomes a square, see ImageSpec.
        resample: filter that resizes images, see ImageSpec.
        mean: of red, green and blue.
        deviation: of red, green and blue.
        most_tiles: that an image is cut into; 0 cuts none.
        class_token: gives it before the patches, where its class does (BLIP-2).
        frame_rate: frames of a video per second; see ImageSpec.
        least_frames: of a video.
        most_frames: of a video.
    """

    config: dict[str, object] = field(default_factory=lambda: dict(TINY_IMAGES))
    edge: int | None = None
    fit: Literal["crop", "pad", "stretch", "corner"] = "stretch"
    resample: str = "bicubic"
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    deviation: tuple[float, float, float] = (0.229, 0.224, 0.225)
    most_tiles: int = 0
    class_token: bool = True
    frame_rate: float | None = field(default=None, metadata=LATER)
    least_frames: int = field(default=4, metadata=LATER)
    most_frames: int = field(default=16, metadata=LATER)

    def __post_init__(self) -> None:
        if self.config.get("model_type") not in CLASS_TOKENS:
            raise ValueError(f"config.model_type is {self.config.get('model_type')!r}, but must be {' or '.join(CLASS_TOKENS)}")
        for key in ("hidden_size", "image_size", "patch_size"):
            number(self.config, key)
        assert self.image_spec  # its fields are refused here, not when it is first asked for

    @property
    def size(self) -> int:
        """Side of an image in pixels."""
        return number(self.config, "image_size")

    @property
    def input(self) -> SignalSpec:
        return SignalSpec("image", None, (3, self.size, self.size))

    @property
    def output(self) -> FeatureSpec:
        return FeatureSpec(number(self.config, "hidden_size"), count=self.length(1))

    @property
    def image_spec(self) -> ImageSpec:
        return ImageSpec(self.size, self.mean, self.deviation, self.fit, edge=self.edge, resample=self.resample,
                         most_tiles=self.most_tiles, frame_rate=self.frame_rate, least_frames=self.least_frames,
                         most_frames=self.most_frames)

    @property
    def dropped(self) -> int:
        """Vectors before the patches that are not given."""
        return CLASS_TOKENS[str(self.config["model_type"])] - self._given

    @property
    def _given(self) -> int:
        return GIVEN.get(str(self.config["model_type"]), 0) if self.class_token else 0

    def length(self, items: int) -> int:
        """Give the features of a tile, which are as many for every tile."""
        return (self.size // number(self.config, "patch_size")) ** 2 + self._given

    def footprint(self) -> Footprint:
        """Give how large it is."""
        patch = number(self.config, "patch_size")
        return footprints.image_tower(self.config, number(self.config, "hidden_size"), (self.size // patch) ** 2, patch)

    def build(self) -> nn.Module:
        from omnikit_hf_models.towers import ImageTower

        return ImageTower(self)


@dataclass(frozen=True)
class HFAudioTower:
    """The audio tower of a Qwen2-Audio, transformers' own module: Whisper's, with pairs of frames averaged at its end.

    Args:
        config: its configuration, as the audio_config of a folder; `model_type` is qwen2_audio_encoder.
    """

    config: dict[str, object] = field(default_factory=lambda: dict(TINY_AUDIO))

    def __post_init__(self) -> None:
        if self.config.get("model_type") != "qwen2_audio_encoder":
            raise ValueError(f"config.model_type is {self.config.get('model_type')!r}, but must be qwen2_audio_encoder")
        for key in ("d_model", "max_source_positions", "num_mel_bins"):
            number(self.config, key)

    @property
    def input(self) -> SignalSpec:
        return SignalSpec("audio", Fraction(SAMPLE_RATE))

    @property
    def output(self) -> FeatureSpec:
        return FeatureSpec(number(self.config, "d_model"), rate=Fraction(SAMPLE_RATE, 4 * HOP), lookahead=math.inf)

    @property
    def window(self) -> int:
        """Samples that every clip is padded with silence or cut to."""
        return 2 * HOP * number(self.config, "max_source_positions")

    def length(self, samples: int) -> int:
        """Give the exact number of features of a clip; raises DataError if it is too short for one."""
        count = convolved(min(samples, self.window))
        if count < 2:
            raise DataError(f"A clip has {samples} samples, but hf_audio_tower needs at least {2 * HOP + 1}; leave the row"
                            " out or give a longer clip.")
        return count // 2

    def footprint(self) -> Footprint:
        """Give how large it is."""
        return footprints.audio_tower(self.config, number(self.config, "d_model"), number(self.config, "num_mel_bins"))

    def build(self) -> nn.Module:
        from omnikit_hf_models.towers import AudioTower

        return AudioTower(self)


def number(config: Mapping[str, object], key: str) -> int:
    """Give a whole number of a configuration; of two equal sides, one. Raises ValueError where there is none."""
    value = config.get(key)
    if isinstance(value, list | tuple) and len(set(value)) == 1:
        value = value[0]
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ValueError(f"config.{key} is {value!r}, but must be a whole number of at least 1")
    return value


def convolved(samples: int) -> int:
    """Give Whisper's vectors for so many samples: of two mel frames each, the last one of one."""
    return (math.ceil(samples / HOP) + 1) // 2
