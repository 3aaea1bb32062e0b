"""Checks of what streams: any chunking gives what the whole input gives."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from omnikit.contracts.types import Features, Signal
from omnikit.errors import OmnikitError
from omnikit.testing.backbone_probe import BackboneProbe
from omnikit.testing.check import MODULES, Check
from omnikit.testing.codec_probe import CodecProbe
from omnikit.testing.computation_checks import CLOSE
from omnikit.testing.encoder_probe import EncoderProbe
from omnikit.testing.head_probe import HeadProbe
from omnikit.testing.probe import Probe, Row, difference, padded
from omnikit.testing.projector_probe import ProjectorProbe
from omnikit.testing.results import CheckFailure, NotApplicable

CHUNKS = (1, 2, 5)  # vectors, states, codes or tokens of a chunk
SEEDS = (0, 1)  # of random cuts, which may leave chunks empty
Cut = tuple[int, int]


@torch.no_grad()
def streamed(probe: Probe) -> None:
    """In chunks of 1, 2, 5 and random sizes it gives what it gives for the whole."""
    module = probe.module
    if isinstance(probe, HeadProbe) and hasattr(module, "speak"):
        _check_speech(probe)
    if not (hasattr(module, "init_state") and hasattr(module, "step")):
        if isinstance(probe, HeadProbe) and hasattr(module, "speak"):
            return
        raise NotApplicable("its module has no `init_state` and `step`, so it does not stream")
    run, length, unit = _streamer(probe)
    expected = [probe.outputs(module, [row])[0][-1:] for row in probe.rows()[:1]]
    for name, cuts in _cuttings(length, unit):
        try:
            found = [(run(cuts),)]
        except OmnikitError as error:
            raise NotApplicable(f"this configuration cannot stream: {error}") from error
        if (gap := difference(found, expected)) > CLOSE:
            what = "shapes or ids differ" if gap == float("inf") else f"by {gap:.2g} of the largest number"
            raise CheckFailure(f"in {name} it gives something else than for the whole ({what}); keep in the state all that"
                               " later input needs")


def _streamer(probe: Probe) -> tuple[Callable[[Sequence[Cut]], Tensor], int, float]:
    """Give what streams the first row by cuts, the row's length, and how much of it makes one vector, state or code."""
    row = probe.rows()[0]
    if isinstance(probe, EncoderProbe):
        if not probe.timed or probe.config.output.rate is None:
            raise NotApplicable("it gives a fixed count of vectors, so it does not stream")
        per_vector = float(probe.config.input.rate / probe.config.output.rate)
        return (lambda cuts: _features(probe.module, _signals(row[0], cuts))), len(row[0]), per_vector
    if isinstance(probe, ProjectorProbe):
        return (lambda cuts: _features(probe.module, _pieces(row[0], cuts, probe))), len(row[0]), 1.0
    if isinstance(probe, HeadProbe):
        return (lambda cuts: _ids(probe, row[0], cuts)), len(row[0]), 1.0
    if isinstance(probe, CodecProbe):
        return (lambda cuts: _audio(probe.module, row[1], cuts)), len(row[1]), 1.0
    if isinstance(probe, BackboneProbe):
        return (lambda cuts: _states(probe, row, cuts)), len(row[0]), 1.0
    raise NotApplicable("components of its kind do not stream")


def _cuttings(length: int, unit: float) -> Iterator[tuple[str, list[Cut]]]:
    """Give ways to cut so many samples or vectors, each with its name."""
    for chunk in CHUNKS:
        size = max(1, round(chunk * unit))
        ends = [*range(size, length, size), length]
        yield f"chunks of {chunk}", list(zip([0, *ends], ends, strict=False))
    for seed in SEEDS:
        ends = [*sorted(random.Random(seed).choices(range(length + 1), k=7)), length]
        yield "chunks of random sizes", list(zip([0, *ends], ends, strict=False))


def _signals(signal: Tensor, cuts: Sequence[Cut]) -> Iterator[Signal]:
    for begin, end in cuts:
        yield Signal(signal[None, begin:end], torch.tensor([end - begin]))


def _pieces(vectors: Tensor, cuts: Sequence[Cut], probe: ProjectorProbe) -> Iterator[Features]:
    for begin, end in cuts:
        yield Features(vectors[None, begin:end], torch.tensor([end - begin]), probe.sources[0].rate)


def _features(module: Any, pieces: Iterator[Signal] | Iterator[Features]) -> Tensor:
    """Stream pieces of one row; the last one is named so."""
    given, state, found = list(pieces), module.init_state(1), []
    for index, piece in enumerate(given):
        features, state = module.step(piece, state, last=index == len(given) - 1)
        found.append(features.data[0, :int(features.lengths[0])])
    return torch.cat(found)


def _ids(probe: HeadProbe, vectors: Tensor, cuts: Sequence[Cut]) -> Tensor:
    module: Any = probe.module
    state, found = module.init_state(1), []
    for begin, end in cuts:
        new, state = module.step(Features(vectors[None, begin:end], torch.tensor([end - begin]), probe.source.rate), state)
        found += new[0]
    return torch.tensor(found, dtype=torch.int64)


def _audio(module: Any, codes: Tensor, cuts: Sequence[Cut]) -> Tensor:
    state, found = module.init_state(1), []
    for begin, end in cuts:
        wave, state = module.step(codes[begin:end], state)
        found.append(wave)
    return torch.cat([*found, module.step(codes[:0], state, last=True)[0]])


def _states(probe: BackboneProbe, row: Row, cuts: Sequence[Cut]) -> Tensor:
    return probe.stepped(probe.module, [row], [end for begin, end in cuts if end > begin])[0][0]


def _check_speech(probe: HeadProbe) -> None:
    """Hold the codes that a sentence gives one by one against those of `decode`."""
    row, module = probe.rows()[0], probe.module
    alone = Features(padded([row[0]]), torch.tensor([len(row[0])]), probe.source.rate)
    found = list(module.speak(alone, *probe.context([row])))  # type: ignore[operator]  # a head that speaks has it
    if found != probe.decoded(module, [row])[0]:
        raise CheckFailure("`speak` gives other codes than `decode`")


CHECKS = (Check("streamed", streamed, MODULES, ("builds", "deterministic", "output_length", "padding")),)
