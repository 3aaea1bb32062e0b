"""Input and output branches of a plan, wired: what a branch reads, how wide and how fast, and what it gives."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from functools import cached_property

from omnikit.contracts.configs import (
    CodecConfig,
    EncoderConfig,
    FusionProjectorConfig,
    HeadConfig,
    NormaliserConfig,
    ProjectorConfig,
)
from omnikit.contracts.media import Medium, image_medium
from omnikit.contracts.optional import encoder_options, head_options, projector_options
from omnikit.contracts.specs import CodecSpec, FeatureSpec, ImageSpec

BACKBONE_TAPS = ("logits", "hidden", "embedding")


@dataclass(frozen=True)
class InputBranch:
    """One input branch, wired. `projector` and `projected` are None for a branch that no backbone reads.

    `input` names the branch whose signals it reads too; `fusion` is how its embeddings enter the backbone. `sources` are the
    branches whose encoders' features its projector takes beside those of its own, `seconds` of a clip are read by all of them.
    """

    name: str
    encoder: EncoderConfig
    encoded: FeatureSpec
    projector: ProjectorConfig | FusionProjectorConfig | None
    projected: FeatureSpec | None
    input: str | None = None
    fusion: str = "splice"
    sources: tuple[InputBranch, ...] = ()
    seconds: float | None = None

    @property
    def media(self) -> tuple[str, ...]:
        """The types of parts that this branch takes: one of images takes videos too, frame by frame."""
        modality = self.encoder.input.modality
        return ("image", "video") if modality == "image" else (modality,)

    @cached_property
    def image_spec(self) -> ImageSpec | None:
        """How images are cut, in a branch of images."""
        return encoder_options(self.encoder).image_spec

    @cached_property
    def clip(self) -> float | None:
        """Seconds of a clip that an encoder of audio reads; None: all of it."""
        return min(filter(None, (self.seconds, encoder_options(self.encoder).seconds)), default=None)

    def length(self, samples: int) -> int:
        """Give the exact number of features that leave the branch for a signal of `samples` samples."""
        counts = [branch.encoder.length(samples) for branch in (self, *self.sources)]
        if isinstance(self.projector, FusionProjectorConfig) and self.sources:
            return self.projector.fused_length(counts)
        return self.projector.length(counts[0]) if isinstance(self.projector, ProjectorConfig) else counts[0]

    def readers(self, taps: Collection[str]) -> tuple[str, ...]:
        """Give the branches that run for what is tapped of this one: itself, and its sources where that is its projector."""
        if f"{self.name}.projector" in taps:
            return (self.name, *(each.name for each in self.sources))
        return (self.name,) if f"{self.name}.encoder" in taps else ()

    def positions(self, samples: int) -> int:
        """Give the exact number of backbone positions for a signal; 0 where it is attended to or joined to another branch."""
        return self.length(samples) if self.is_spliced else 0

    @property
    def instruction_tokenizer(self) -> str | None:
        """The tokenizer of the text that its projector reads beside the features; None where it reads none."""
        return projector_options(self.projector).tokenizer if self.projector else None

    @property
    def joins_media(self) -> bool:
        """Whether its projector joins the features of all tiles of an image, or of all frames of a video."""
        return self.projector is not None and projector_options(self.projector).medium_length is not None

    def medium_length(self, medium: Medium, samples: int = 1) -> int:
        """Give the exact number of vectors of a medium whose signals its projector joins, each of `samples` samples."""
        length = projector_options(self.projector).medium_length if self.projector else None
        assert length is not None, "asked where joins_media"
        return length(medium, self.encoder.length(samples))

    def largest_media(self) -> tuple[Medium, ...]:
        """Give the longest video and the largest image, as its encoder cuts them; of other media one."""
        spec = self.image_spec
        if spec is None:
            return (Medium(self.media[0]),)
        return Medium("video", spec.most_frames), image_medium(spec.largest_grid, spec.largest_grid, spec)

    @property
    def is_attended(self) -> bool:
        """Whether layers of the backbone attend to its embeddings."""
        return self.projector is not None and self.fusion == "cross_attention"

    @property
    def is_spliced(self) -> bool:
        """Whether its embeddings take positions of the backbone."""
        return self.projector is not None and self.fusion == "splice"


@dataclass(frozen=True)
class OutputBranch:
    """One output branch, wired: the head reads `source` and emits the codec's codes or `vocabulary` tokens.

    `units` is the codec that makes codes of waves where `codec` is a vocoder that cannot. `normaliser` gives how the text of a
    head that taps the embedding table is spoken; None: as it is written.
    """

    name: str
    head: HeadConfig
    source: FeatureSpec
    codec: CodecConfig | None
    codes: CodecSpec | None
    vocabulary: int
    units: CodecConfig | None = None
    normaliser: NormaliserConfig | None = None

    @property
    def reads_text(self) -> bool:
        """Whether its head reads the words of the answer rather than what the backbone makes of them."""
        return self.head.tap == "embedding"

    @property
    def needs_hidden(self) -> bool:
        """Whether its head needs the backbone to run, rather than its embedding table alone."""
        return self.head.tap in ("logits", "hidden") or head_options(self.head).context is not None

    @property
    def state_input(self) -> str:
        """The input branch at whose last positions a head with target "state" reads."""
        return head_options(self.head).branch

    @property
    def trained_on(self) -> str:
        """The alignment of the states that its loss reads; answers are made with `head.alignment`."""
        return head_options(self.head).training_alignment or self.head.alignment

    @property
    def per_token(self) -> bool:
        """Whether its loss looks at each token alone, so that the answers of a packed batch may stand in one row."""
        return self.head.tap == "logits" and self.head.target == "tokens"

    @property
    def feeds(self) -> bool:
        """Whether the backbone reads the codes that its head emitted, step by step."""
        return head_options(self.head).steps is not None

    def steps(self, frames: int) -> int:
        """Give the backbone's steps that emit so many frames, where it `feeds`."""
        steps = head_options(self.head).steps
        assert steps is not None and self.codes is not None, "asked where it feeds, and has a codec"
        return steps(frames, self.codes.codebooks)

    @property
    def code_source(self) -> CodecConfig | None:
        """What makes codes of waves: `units`, else the codec if it can; None where codes come with the data."""
        return self.units or (self.codec if self.codec and self.codec.encodes else None)

    @property
    def code_source_part(self) -> str | None:
        """The part that makes codes of waves, speech.units or speech.codec."""
        return f"{self.name}.{'units' if self.units else 'codec'}" if self.code_source else None
