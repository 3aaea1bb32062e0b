"""The settings and contract of transformers' audio encoders. Imports neither torch nor transformers."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Literal

from omnikit.contracts.folders import FolderValue
from omnikit.contracts.footprint import Footprint
from omnikit.contracts.specs import LATER, FeatureSpec, SignalSpec
from omnikit.errors import ConfigError
from omnikit.recipe.model_config import config_folder, fill_from_folder, json_file, processor_config
from omnikit_hf_audio.encoder import SAMPLE_RATE, Encoder
from omnikit_hf_audio.families import FAMILIES, family_of, preparation, sizes
from omnikit_hf_audio.footprint import footprint

if TYPE_CHECKING:
    from omnikit_hf_audio.model import HfAudioEncoder

TINY = {"dim": 64, "layers": 2, "heads": 4, "ffn": 128, "conv_dim": (32,) * 7, "position_kernel": 16, "position_groups": 4,
        "buckets": 32, "bucket_distance": 64, "depthwise_kernel": 7, "left_positions": 16, "mel_bins": 32, "positions": 400,
        "frames": 512, "frequency_stride": 16, "time_stride": 16}  # our sizes
OF_FAMILIES = {name: [family for family, names in FAMILIES.items() if name in names]
               for names in FAMILIES.values() for name in names} | {
                   "normalize": ["wav2vec2", "hubert", "wavlm"], "mean": ["ast"], "deviation": ["ast"]}


@dataclass(frozen=True)
class HfAudio:
    """The features of an audio encoder of transformers: Wav2Vec2, HuBERT, WavLM, W2V-BERT, Whisper's encoder, or AST.

    With `weights`, every field that is null comes from the folder's config.json and preprocessor_config.json, and a size that
    contradicts config.json is refused. Without, null is a tiny size of ours; a family ignores no field that is given.

    Args:
        weights: a folder that transformers wrote, of the encoder alone or of a model that has one; None: random weights.
        weights_prefix: what a wrapper around the model put before the names of these weights; tensors without it are left out.
        family: which encoder.
        dim: width inside the transformer.
        ffn: width inside the feed-forward layers.
        activation: transformers' name of it.
        eps: of the norms; Whisper's is fixed.
        conv_dim: Wav2Vec2, HuBERT, WavLM: width of each convolution on the waveform.
        kernels: likewise: samples that each spans.
        strides: likewise; their product is the samples of one feature.
        conv_norm: likewise: "group" norms the first convolution over time, "layer" each of them.
        conv_bias: likewise: whether the convolutions have biases.
        stable: likewise: norms stand before attention and feed-forward, as in the large models.
        position_kernel: likewise: kernel of the convolution that encodes positions.
        position_groups: likewise: its groups.
        normalize: likewise: bring each waveform to mean 0 and variance 1 first.
        buckets: WavLM: of distances.
        bucket_distance: WavLM: from which on all distances share one.
        depthwise_kernel: W2V-BERT: kernel of its convolutions; odd.
        left_positions: W2V-BERT: farthest distance to the left that has an embedding of its own.
        right_positions: W2V-BERT: to the right.
        mel_bins: Whisper, AST.
        positions: Whisper: features of every clip (1500 = 30 s); clips are padded with silence or cut.
        patch: AST: side of a patch of the spectrogram.
        frequency_stride: AST: bins between two patches.
        time_stride: AST: mel frames between two patches.
        frames: AST: mel frames of every clip (1024 = 10.24 s); clips are padded or cut.
        mean: AST: of log-mel values.
        deviation: AST: of log-mel values; they are divided by twice this.
        feature_layers: whose outputs are taken, as indices into [what enters the first layer, layer 1, …]; several are joined
            to one wide vector. Layers behind the last one are not built.
        final_norm: whether the last layer's output passes the norm that transformers has behind it.
        class_token: AST: whether its two tokens before the patches are given too.
        dropout: fraction of activations dropped while training. No layer is skipped and nothing is masked.
    """

    weights: str | None = None
    family: Literal["wav2vec2", "hubert", "wavlm", "w2v_bert", "whisper", "ast"] | None = None
    dim: int | None = None
    layers: int | None = None
    heads: int | None = None
    ffn: int | None = None
    activation: str | None = None
    eps: float | None = None
    conv_dim: tuple[int, ...] | None = None
    kernels: tuple[int, ...] | None = None
    strides: tuple[int, ...] | None = None
    conv_norm: str | None = None
    conv_bias: bool | None = None
    stable: bool | None = None
    position_kernel: int | None = None
    position_groups: int | None = None
    normalize: bool | None = None
    buckets: int | None = None
    bucket_distance: int | None = None
    depthwise_kernel: int | None = None
    left_positions: int | None = None
    right_positions: int | None = None
    mel_bins: int | None = None
    positions: int | None = None
    patch: int | None = None
    frequency_stride: int | None = None
    time_stride: int | None = None
    frames: int | None = None
    mean: float | None = None
    deviation: float | None = None
    feature_layers: tuple[int, ...] = (-1,)
    final_norm: bool = True
    class_token: bool = False
    dropout: float = 0.0
    weights_prefix: str = field(default="", metadata=LATER)

    def __post_init__(self) -> None:
        if self.weights is not None:
            found = _stated(self.weights)
            if not found and self.family is None:
                raise ValueError(f"weights is {self.weights!r}, but there is no config.json in it; give a folder that"
                                 " transformers' save_pretrained wrote")
            fill_from_folder(self, found, self.weights)
        given = self._from_defaults()
        for name, families in OF_FAMILIES.items():
            if getattr(self, name) is not None and given["family"] not in families:
                raise ValueError(f"{name} is {getattr(self, name)}, but only encoders of {' and '.join(families)} have it, and"
                                 f" this one is {given['family']}")
        for name, value in given.items():
            if getattr(self, name) is None:
                object.__setattr__(self, name, value)
        self.encoder.check()

    @staticmethod
    def folder_fields(fields: Mapping[str, Any]) -> dict[str, FolderValue]:
        """Give what the folder or id in `weights` states; sizes are fixed, how waveforms are prepared may be set otherwise.

        Raises:
            ConfigError: its files hold what is not built here.
        """
        try:
            return _stated(fields["weights"])
        except ValueError as error:
            raise ConfigError(f"{error}.") from error

    def _from_defaults(self) -> dict[str, Any]:
        family = self.family or "wav2vec2"
        found = {name: TINY.get(name, default) for name, (_, default) in FAMILIES[family].items()}
        return {"family": family, **found, **preparation(family, {}, found, "")}

    @property
    def encoder(self) -> Encoder:
        """The fields, none of them null."""
        return Encoder.of(self)

    @property
    def input(self) -> SignalSpec:
        return SignalSpec("audio", Fraction(SAMPLE_RATE))

    @property
    def output(self) -> FeatureSpec:
        return self.encoder.output

    def length(self, samples: int) -> int:
        """Give the exact number of features; raises DataError if a clip is too short for one."""
        return self.encoder.length(samples)

    def footprint(self) -> Footprint:
        """Give how large it is."""
        return footprint(self.encoder)

    def build(self) -> "HfAudioEncoder":
        from omnikit_hf_audio.model import HfAudioEncoder

        return HfAudioEncoder(self)


def _stated(weights: str) -> dict[str, FolderValue]:
    """Give what a folder states, by our fields; {} where there is none. Raises ValueError as `folder_fields` does."""
    path = config_folder(weights)
    if path is None:
        return {}
    config, where = json_file(path / "config.json"), str(path / "config.json")
    family = family_of(config, where)
    found: dict[str, Any] = {"family": family, **dict.fromkeys(OF_FAMILIES), **sizes(family, config, where)}
    ways = preparation(family, processor_config(path, "feature_extractor"), found, str(path / "preprocessor_config.json"))
    return ({name: FolderValue(value, "config.json") for name, value in found.items() if name not in ways}
            | {name: FolderValue(value, "preprocessor_config.json", fixed=False) for name, value in ways.items()})
