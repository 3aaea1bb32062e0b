"""Checks of the numbers that a contract states: dimension, rate, length, count, lookahead, codebooks, parameters."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from fractions import Fraction

import torch

from omnikit.contracts.media import Medium
from omnikit.contracts.specs import FeatureSpec
from omnikit.contracts.types import Features
from omnikit.testing.backbone_probe import BackboneProbe
from omnikit.testing.check import MODULES, Check
from omnikit.testing.codec_probe import CodecProbe
from omnikit.testing.encoder_probe import EncoderProbe
from omnikit.testing.head_probe import HeadProbe
from omnikit.testing.probe import Probe, Row
from omnikit.testing.projector_probe import ProjectorProbe
from omnikit.testing.results import CheckFailure, NotApplicable

FeatureProbe = EncoderProbe | ProjectorProbe
SAMPLES = (1, 2, 399, 400, 401, 640, 1601, 3999, 4000, 7777, 12345)  # of clips, at 16 kHz
COUNTS = (1, 2, 3, 4, 5, 7, 8, 9, 16, 31, 50)  # of vectors
LONG, SLOPE = 20, 0.02  # seconds between two lengths whose difference is the rate; and by which fraction it may be missed
TOLERANCE = 1e-5  # of a vector that must not change


def builds(probe: Probe) -> None:
    """`build` gives a module."""
    if probe.make() is None:
        raise CheckFailure("`build` gives None")


def stated(probe: FeatureProbe) -> FeatureSpec:
    """Give what a component states that it gives."""
    spec: FeatureSpec = probe.config.output if isinstance(probe, EncoderProbe) else probe.output(probe.sources)
    return spec


@torch.no_grad()
def output_dim(probe: FeatureProbe) -> None:
    """Features are of the hidden size that `output` states."""
    found, expected = probe.features(probe.module, probe.rows()).data.shape[-1], stated(probe).dim
    if found != expected:
        raise CheckFailure(f"it gives features of hidden size {found}, but its `output` states {expected}")


@torch.no_grad()
def output_rate(probe: FeatureProbe) -> None:
    """Features carry the rate that `output` states, and `length` grows by it."""
    expected = stated(probe).rate
    found = probe.features(probe.module, probe.rows()).rate
    if found != expected:
        raise CheckFailure(f"it gives features at {_hertz(found)}, but its `output` states {_hertz(expected)}")
    if expected is None:
        return
    counted = list(_grown(probe))
    if counted and abs(counted[0] / float(expected * LONG) - 1) > SLOPE + 1 / float(expected * LONG):
        raise CheckFailure(f"its `length` grows by {counted[0]} vectors in {LONG} s, but its `output` states"
                           f" {_hertz(expected)}, which are {float(expected * LONG):g}")


def _grown(probe: FeatureProbe) -> Iterator[int]:
    """Give how many more vectors `length` gives for a clip that is LONG seconds longer, where it takes both."""
    if isinstance(probe, EncoderProbe):
        rate = probe.config.input.rate
        for begin in (10, 2):
            short, longer = (probe.count(int(seconds * rate)) for seconds in (begin, begin + LONG))
            if short is not None and longer is not None:
                yield longer - short
        return
    rates = [source.rate or Fraction(0) for source in probe.sources]
    short, longer = (probe.length([int(seconds * rate) for rate in rates]) for seconds in (10, 10 + LONG))
    yield longer - short


@torch.no_grad()
def output_length(probe: FeatureProbe) -> None:
    """Inputs of many lengths give as many vectors as `length` states, alone and in one batch."""
    cases = list(_cases(probe))
    if not cases:
        raise CheckFailure("its `length` refuses every length that was tried, 1 to 12345 samples")
    for row, expected, what in cases:
        _check_lengths(probe.features(probe.module, [row]), [expected], what)
    filled = [case for case in cases if case[1] > 0]
    _check_lengths(probe.features(probe.module, [row for row, *_ in filled]), [count for _, count, _ in filled], "a batch")


def _cases(probe: FeatureProbe) -> Iterator[tuple[Row, int, str]]:
    """Give inputs, how many vectors `length` states of each, and what each is in words."""
    generator = torch.Generator().manual_seed(5)
    if isinstance(probe, ProjectorProbe):
        fixed = [source.count for source in probe.sources]
        for counts in ([fixed] if None not in fixed else [[count] * len(fixed) for count in COUNTS]):
            known = [count for count in counts if count is not None]
            if not probe.joins_media:
                yield probe.row(known, generator), probe.length(known), f"{' and '.join(map(str, known))} vectors"
        yield from probe.media_cases(generator)
    elif not probe.timed:
        yield probe.rows()[0], probe.count(1) or 0, "an item"
    else:
        long = [len(row[0]) for row in probe.rows()]
        for samples in (*SAMPLES, *long):
            expected = probe.count(samples)
            if expected is not None:
                yield (probe.clip(samples, generator),), expected, f"a clip of {samples} samples"


def _check_lengths(features: Features, expected: Sequence[int], what: str) -> None:
    found = features.lengths.tolist()
    if found != list(expected):
        raise CheckFailure(f"for {what} it gives {_listed(found)} vectors, but its `length` gives {_listed(expected)}")
    if features.data.shape[1] < max(expected):
        raise CheckFailure(f"for {what} it gives data of shape {list(features.data.shape)}, but its `length` gives"
                           f" {_listed(expected)}")


def output_count(probe: FeatureProbe) -> None:
    """Where `output` states a count, `length` gives that count for every input."""
    expected = stated(probe).count
    if expected is None:
        raise NotApplicable("it states a rate")
    if isinstance(probe, ProjectorProbe) and probe.joins_media:
        found = {probe.length([probe.sources[0].count or 0]), probe.medium_length(Medium("image"))}
    else:
        found = {count for _, count, _ in _cases(probe)}
    if found != {expected}:
        raise CheckFailure(f"its `output` states {expected} vectors, but its `length` gives {_listed(sorted(found))}")


@torch.no_grad()
def lookahead(probe: FeatureProbe) -> None:
    """No vector depends on more of the future than `output` states."""
    spec = stated(probe)
    if spec.rate is None or math.isinf(spec.lookahead):
        raise NotApplicable("it states a count" if spec.rate is None else "it states that it needs the whole clip")
    row = max(probe.rows(), key=lambda row: len(row[0]))
    rates = ([probe.config.input.rate] if isinstance(probe, EncoderProbe) else [source.rate for source in probe.sources])
    before = probe.outputs(probe.module, [row])[0][0]
    for index in (0, len(before) // 3, 2 * len(before) // 3):
        seconds = float(index / spec.rate) + spec.lookahead
        begins = [_first_after(seconds * float(rate or 0), whole=isinstance(probe, EncoderProbe)) for rate in rates]
        changed = tuple(_changed(values, begin) for values, begin in zip(row, begins, strict=False)) + row[len(rates):]
        after = probe.outputs(probe.module, [changed])[0][0]
        gap = float((after[:index + 1] - before[:index + 1]).abs().max())
        if gap > TOLERANCE * max(1.0, float(before.abs().max())):
            raise CheckFailure(f"vector {index} depends on input more than {spec.lookahead:g} s after it, the lookahead that"
                               " its `output` states")


def _first_after(position: float, *, whole: bool) -> int:
    """Give the first sample at or behind a position (`whole`), or the first vector behind it."""
    return math.ceil(position - 1e-6) if whole else math.floor(position + 1e-6) + 1


def _changed(values: torch.Tensor, begin: int) -> torch.Tensor:
    """Give values [N, …] that are others from an index on."""
    changed = values.clone()
    changed[begin:] = changed[begin:].flip(0) + 0.5
    return changed


@torch.no_grad()
def backbone_dims(probe: BackboneProbe) -> None:
    """Embeddings and hidden states are as wide as `dim` states, and logits as `vocabulary`."""
    rows = probe.rows()
    hidden = probe.hidden(probe.module, rows)
    found = {"embeddings": probe.module.embed(rows[0][0][None]).shape[-1], "hidden states": hidden.shape[-1]}
    for what, dim in found.items():
        if dim != probe.config.dim:
            raise CheckFailure(f"it gives {what} of hidden size {dim}, but its `dim` states {probe.config.dim}")
    logits = probe.module.logits(hidden[:, :1]).shape[-1]
    if logits != probe.config.vocabulary:
        raise CheckFailure(f"it gives {logits} logits, but its `vocabulary` states {probe.config.vocabulary}")


@torch.no_grad()
def codebooks(probe: CodecProbe) -> None:
    """Codes are [T, Q] of the codebooks and the cardinality that `spec` states, and last as long as its rate."""
    spec = probe.spec
    for wave, codes in probe.rows():
        if probe.config.encodes:
            _check_codes(probe, probe.module.encode(wave), len(wave) / spec.sample_rate)
        if probe.config.decodes and not spec.merged:
            seconds = len(probe.module.decode(codes)) / spec.sample_rate
            if abs(seconds - float(len(codes) / spec.rate)) > float(2 / spec.rate):
                raise CheckFailure(f"it makes {seconds:.3f} s of audio from {len(codes)} frames of codes, but its `spec` states"
                                   f" {_hertz(spec.rate)}, which are {float(len(codes) / spec.rate):.3f} s")


def _check_codes(probe: CodecProbe, codes: torch.Tensor, seconds: float) -> None:
    spec = probe.spec
    if codes.ndim != 2 or codes.shape[1] != spec.codebooks or codes.dtype != torch.int64:
        raise CheckFailure(f"it encodes to {codes.dtype} of shape {list(codes.shape)}, but its `spec` states [T,"
                           f" {spec.codebooks}], int64")
    if codes.numel() and not 0 <= int(codes.min()) <= int(codes.max()) < spec.cardinality:
        raise CheckFailure(f"it encodes to codes {int(codes.min())} to {int(codes.max())}, but its `spec` states 0 to"
                           f" {spec.cardinality - 1}")
    expected = seconds * float(spec.rate)
    if len(codes) > expected + 2 or (not spec.merged and len(codes) < expected - 2):
        raise CheckFailure(f"it encodes {seconds:.2f} s to {len(codes)} frames, but its `spec` states {_hertz(spec.rate)},"
                           f" which are {expected:.1f}")


@torch.no_grad()
def emitted_ids(probe: HeadProbe) -> None:
    """`decode` gives ids that its codec or vocabulary has, for codes one of each codebook."""
    codec, limit = probe.codec, probe.codec.cardinality if probe.codec else None
    for row in probe.decoded(probe.module, probe.rows()):
        for one in row:
            if codec and (not isinstance(one, tuple) or len(one) != codec.codebooks):
                raise CheckFailure(f"it emits {one!r} for a frame, but the codec that it accepts has {codec.codebooks}"
                                   " codebooks; give a tuple of as many numbers")
            ids = one if isinstance(one, tuple) else (one,)
            if any(type(each) is not int or each < 0 or (limit is not None and each >= limit) for each in ids):
                raise CheckFailure(f"it emits {one!r}, which must be whole numbers from 0 to"
                                   f" {limit - 1 if limit else 'its last'}")


def footprint(probe: Probe) -> None:
    """The parameters that its `footprint` gives are those of its module."""
    name, arguments = "footprint", list[object]()
    if isinstance(probe, ProjectorProbe):
        name = "fused_footprint" if probe.component.fused else "footprint"
        arguments = [list(probe.sources) if probe.component.fused else probe.sources[0], 48]
    elif isinstance(probe, HeadProbe):
        arguments = [probe.source, probe.codec, 60]
    give = getattr(probe.config, name, None)
    if give is None:
        raise NotApplicable(f"it has no `{name}`, so that `omnikit forecast` cannot count it")
    expected, found = give(*arguments).parameters, sum(weights.numel() for weights in probe.module.parameters())
    if found != expected:
        raise CheckFailure(f"its module has {found} parameters, but its `{name}` gives {expected}")


def _hertz(rate: Fraction | None) -> str:
    return "no rate" if rate is None else f"{float(rate):g} Hz"


def _listed(values: Sequence[int]) -> str:
    """Give numbers in words, a run of equal ones once."""
    shown = [str(value) for index, value in enumerate(values) if not index or value != values[index - 1]]
    return ", ".join(shown) if len(shown) > 1 or len(values) < 2 else shown[0]


FEATURES, BUILT = ("encoder", "projector"), ("builds",)
CHECKS = (
    Check("builds", builds, MODULES),
    Check("output_dim", output_dim, FEATURES, BUILT),
    Check("output_rate", output_rate, FEATURES, BUILT),
    Check("output_length", output_length, FEATURES, BUILT),
    Check("output_count", output_count, FEATURES, BUILT),
    Check("lookahead", lookahead, FEATURES, ("builds", "output_dim", "output_rate", "output_length", "deterministic")),
    Check("backbone_dims", backbone_dims, ("backbone",), BUILT),
    Check("codebooks", codebooks, ("codec",), BUILT),
    Check("emitted_ids", emitted_ids, ("head",), BUILT),
    Check("footprint", footprint, MODULES, BUILT),
)
