"""What a component may offer beside its required members, with the value that counts where it does not.

One dataclass for each kind declares the optional members; a plugin simply has a field, property or method of that name.
Everywhere else they are read through the functions below, never by a bare `getattr`.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any, TypeVar

from omnikit.contracts.configs import (
    BackboneConfig,
    CodecConfig,
    EncoderConfig,
    FusionProjectorConfig,
    HeadConfig,
    ProjectorConfig,
    ReaderConfig,
)
from omnikit.contracts.folders import FolderValue
from omnikit.contracts.footprint import Footprint
from omnikit.contracts.specs import CodecSpec, FeatureSpec, ImageSpec

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    from torch import Tensor, nn

    from omnikit.contracts.media import Medium
    from omnikit.contracts.protocols import Head, Reader
    from omnikit.contracts.types import Features, Sample, Targets
    from omnikit.errors import DataError

T = TypeVar("T")
WEIGHT_FIELDS = ("weights", "adapter", "pretrained", "centroids", "cmvn")  # of any component: paths of its first weights


@dataclass(frozen=True)
class EncoderOptions:
    """Optional members of an encoder's configuration.

    Args:
        image_spec: how images and videos become its signals, one for each tile; for encoders of images.
        seconds: of a clip that it reads, for encoders of audio whose clips are all cut or padded to it; no more is decoded.
        footprint: gives how large it is, for `omnikit forecast`.
        folder_fields: static; takes the fields, `weights` among them; gives field → what that folder states of it.
    """

    image_spec: ImageSpec | None = None
    seconds: float | None = None
    footprint: Callable[[], Footprint] | None = None
    folder_fields: Callable[[Mapping[str, Any]], Mapping[str, FolderValue]] | None = None


@dataclass(frozen=True)
class ProjectorOptions:
    """Optional members of a projector's configuration.

    Args:
        footprint: takes what `build` takes; gives how large it is.
        fused_footprint: takes what `build_fused` takes.
        tokenizer: by name or path; the module then takes, as `instructions`, Targets with its ids of the text of the message
            that each signal stands in. None: it takes features alone.
        medium_length: takes a Medium and the features of each of its signals; gives the exact number of vectors for all of it.
            The module then takes, as `media`, the media whose signals the features are, in order, and gives one row for each
            medium. `length` is that of a medium of one signal. None: signals are projected one by one.
    """

    footprint: Callable[[FeatureSpec, int], Footprint] | None = None
    fused_footprint: Callable[[Sequence[FeatureSpec], int], Footprint] | None = None
    tokenizer: str | None = None
    medium_length: Callable[[Medium, int], int] | None = None


@dataclass(frozen=True)
class BackboneOptions:
    """Optional members of a backbone's configuration.

    Args:
        ends: ids that end an answer, beside the template's end.
        packs: its module takes `documents`, so that one sequence may hold several conversations.
        build_from: builds the module without weights, from the `settings` that the module had which was built from `weights`.
        build_table: builds `embed` alone, named as in the complete module; its values are undefined unless `fresh`.
        footprint: gives how large it is.
        folder_fields: as an encoder's; "generate.KEY" names a setting of how answers are made.
        fusions: how embeddings of media may enter it, see omnikit.recipe.branches.FUSIONS.
        takes_layout: its module takes an InputLayout, see omnikit.contracts.protocols.LayoutBackbone.
        memory_dim: width of the embeddings that it attends to; None: `dim`.
    """

    ends: tuple[int, ...] = ()
    packs: bool = False
    build_from: Callable[[Mapping[str, object]], nn.Module] | None = None
    build_table: Callable[..., nn.Module] | None = None
    footprint: Callable[[], Footprint] | None = None
    folder_fields: Callable[[Mapping[str, Any]], Mapping[str, FolderValue]] | None = None
    fusions: tuple[str, ...] = ("splice",)
    takes_layout: bool = False
    memory_dim: int | None = None


@dataclass(frozen=True)
class HeadOptions:
    """Optional members of a head's configuration.

    Args:
        branch: where its target is "state": the input branch at whose last positions it reads.
        tokenizer: whose tokens it emits, by name or path; None: the backbone's.
        context: "hidden" if `loss` and `speak` also take the backbone's output.
        training_alignment: the alignment of the states that its loss reads; None: `alignment`.
        reads: takes the FeatureSpec of its tap; gives one clause why it cannot read such features, or None.
        unreachable: takes the number of input positions and the target ids; gives one clause why it could never emit them, or
            None. The ids of codes are those of the first codebook.
        codebooks: codes that it emits for each frame; None: as many as any codec has.
        footprint: takes what `build` takes; gives how large it is.
        loss_count: takes the Targets of a batch, on the CPU, rows padded; gives what its loss of them is a mean over: a number
            of targets, or the sum of their weights. None: the ids that are not padding, of codes the frames.
        steps: takes frames of codes and the codec's codebooks; gives the steps of the backbone that emit them, delays and their
            end among them. With it the head emits codes at every step of an answer, from its first one on, and what they were
            is added to the backbone's next input; see omnikit.contracts.streaming.FeedingHead. None: the backbone reads none.
    """

    branch: str = "audio"
    tokenizer: str | None = None
    context: str | None = None
    training_alignment: str | None = None
    reads: Callable[[FeatureSpec], str | None] | None = None
    unreachable: Callable[[int, Sequence[int]], str | None] | None = None
    codebooks: int | None = 1
    footprint: Callable[[FeatureSpec, CodecSpec | None, int], Footprint] | None = None
    loss_count: Callable[[Targets], float] | None = None
    steps: Callable[[int, int], int] | None = None


@dataclass(frozen=True)
class CodecOptions:
    """Optional members of a codec's configuration; those of `omnikit.contracts.configs.VocoderConfig` are among them.

    Args:
        averages: whether its codes are moving averages, which no loss moves; None: it does not state it.
        weights: file of a checkpoint that its first weights come from.
        segment: frames of a training segment, where it has the objective "vocoder" or "codec".
        discriminator_dim: width of the discriminators, likewise.
        footprint: gives how large it is.
    """

    averages: bool | None = None
    weights: str | None = None
    segment: int | None = None
    discriminator_dim: int | None = None
    footprint: Callable[[], Footprint] | None = None


@dataclass(frozen=True)
class RowOptions:
    """Optional members of a reader's configuration: how long its rows are, for `omnikit forecast`, and how they come about.

    Args:
        text_tokens: tokens of text in a long row, its template's among them.
        answer_tokens: those of its answer.
        tiles: images and frames of videos that a row has, tile by tile, on average.
        records: `build()` synthesises recordings that are not there yet and stores them; another process may do so beforehand.
        recognise: gives whether a file or folder is of this format, by its name and first row.
        write: writes samples to a path in this format; gives what the format cannot hold → how often that was left out.
        paths: gives field → file or folder that `build()` opens; None: what its fields `path`, `split` and `root` name.
        packages: that `build()` imports and that its plugin does not require.
        voices: of its `tts`, for the recordings that it makes.
    """

    text_tokens: int | None = None
    answer_tokens: int | None = None
    tiles: float | None = None
    records: bool = False
    recognise: Callable[[Path], bool] | None = None
    write: Callable[[Iterable[Sample], Path], Mapping[str, int]] | None = None
    paths: Callable[[], Mapping[str, str]] | None = None
    packages: tuple[str, ...] = ()
    voices: tuple[str, ...] = ()


@dataclass(frozen=True)
class ReaderOptions:
    """Optional members of a reader's module.

    Args:
        problems: gives all that is wrong with the row of an index, for `omnikit data check`.
    """

    problems: Callable[[int], list[DataError]] | None = None


@dataclass(frozen=True)
class HeadModuleOptions:
    """Optional members of a head's module.

    Args:
        loss_of_hidden: as `loss`, for a head that taps the logits and whose loss looks at each token alone, but of the hidden
            states [C, U, D] under them; takes also a function that makes the logits [n, V] of states [n, D], and V. With it a
            head never has all logits of a batch in memory.
    """

    loss_of_hidden: Callable[[Features, Targets, Callable[[Tensor], Tensor], int], Tensor] | None = None


@dataclass(frozen=True)
class ModuleOptions:
    """Optional members of the module of any component.

    Args:
        unused_parameters: patterns, as `train` takes them, of parameters that checkpoints hold but that no loss depends on; no
            stage trains them.
        direct_weights: patterns of layers whose weight the code also reads past their forward pass: no adapter fits there.
    """

    unused_parameters: tuple[str, ...] = ()
    direct_weights: tuple[str, ...] = ()


OPTIONS: dict[str, type[Any]] = {"encoder": EncoderOptions, "projector": ProjectorOptions, "backbone": BackboneOptions,
                                 "head": HeadOptions, "codec": CodecOptions, "reader": RowOptions}


def encoder_options(config: EncoderConfig) -> EncoderOptions:
    """Give an encoder's optional members."""
    return _given(EncoderOptions, config)


def projector_options(config: ProjectorConfig | FusionProjectorConfig) -> ProjectorOptions:
    """Give a projector's optional members."""
    return _given(ProjectorOptions, config)


def row_options(config: ReaderConfig) -> RowOptions:
    """Give the optional members of a reader's configuration."""
    return _given(RowOptions, config)


def backbone_options(config: BackboneConfig) -> BackboneOptions:
    """Give a backbone's optional members."""
    return _given(BackboneOptions, config)


def head_options(config: HeadConfig) -> HeadOptions:
    """Give a head's optional members."""
    return _given(HeadOptions, config)


def codec_options(config: CodecConfig) -> CodecOptions:
    """Give a codec's optional members."""
    return _given(CodecOptions, config)


def reader_options(reader: Reader) -> ReaderOptions:
    """Give the optional members of a reader's module."""
    return _given(ReaderOptions, reader)


def head_module_options(head: Head) -> HeadModuleOptions:
    """Give the optional members of a head's module."""
    return _given(HeadModuleOptions, head)


def module_options(module: nn.Module) -> ModuleOptions:
    """Give the optional members of a component's module."""
    return _given(ModuleOptions, module)


def weight_fields(config: object) -> dict[str, str]:
    """Give field → path of what a component of any kind takes its first weights from."""
    values = {name: getattr(config, name) for name in WEIGHT_FIELDS if _has(config, name)}
    return {name: value for name, value in values.items() if isinstance(value, str)}


def weight_files(config: object) -> tuple[str, ...]:
    """Give the paths that a component of any kind takes its first weights from."""
    return tuple(weight_fields(config).values())


def without_weight_files(config: T) -> T:
    """Give a component of any kind without the paths that its first weights come from."""
    named = [name for name in WEIGHT_FIELDS if _has(config, name) and isinstance(getattr(config, name), str)]
    return replace(config, **dict.fromkeys(named)) if named else config  # type: ignore[type-var]  # every config is one


def needs_training(config: object) -> bool:
    """Say whether a component of any kind is a codec that only a stage of its own fits, because it names no weights."""
    return isinstance(config, CodecConfig) and bool(config.objectives) and codec_options(config).weights is None


def _given(options: type[T], owner: object) -> T:
    """Fill a kind's options with what the owner has of them."""
    return options(**{item.name: getattr(owner, item.name) for item in fields(options)  # type: ignore[arg-type]  # a dataclass
                      if _has(owner, item.name)})


def _has(owner: object, name: str) -> bool:
    """Say whether a member is there; one that raises an AttributeError of its own is."""
    return hasattr(type(owner), name) or name in getattr(owner, "__dict__", {})
