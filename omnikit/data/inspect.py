"""One batch, readable: where each token comes from, which heads are supervised by it, and the other heads' targets.

Everything comes from the collator: what is shown is what training gets. Runs no model.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from itertools import accumulate, groupby
from pathlib import Path

from omnikit.contracts.configs import HeadConfig
from omnikit.contracts.types import Sample
from omnikit.data.batch.collate import Collator
from omnikit.data.batch.collated_row import CollatedRow
from omnikit.data.batch.tokenizers import transcript_tokenizer
from omnikit.data.media.image import thumbnail
from omnikit.data.text.span_text import SpanText
from omnikit.data.text.tokenise import TokenSpan
from omnikit.errors import DataError
from omnikit.plan.branches import BACKBONE_TAPS
from omnikit.plan.plan import Plan

TARGETS = {"tokens": "the answer's tokens", "codes": "the answer's codes", "transcript": "the audio's transcript",
           "caption": "the image's caption", "state": "whether the question was meant for the model"}
MAX_CODES = 400  # codes of a row


@dataclass(frozen=True)
class Token:
    """One position of a row, or one medium with all of its positions.

    Args:
        position: the first one, from 0.
        text: the token's text, or the vocabulary's own token where it loses something of that; of a medium its transcript or
            caption.
        origin: "template", "system", "question", "answer", or the input branch of a medium.
        supervised_by: output branches that have it as a target.
        id: the token's id; None for a medium.
        count: positions.
        seconds: of audio.
        tiles: of an image, or frames of a video, small and as data URLs: what the encoder is given.
    """

    position: int
    text: str
    origin: str
    supervised_by: tuple[str, ...] = ()
    id: int | None = None
    count: int = 1
    seconds: float | None = None
    tiles: tuple[str, ...] = ()


@dataclass(frozen=True)
class InspectedSpan:
    """Neighbours of one origin."""

    origin: str
    supervised_by: tuple[str, ...]
    tokens: tuple[Token, ...]

    @property
    def positions(self) -> str:
        """First and last position."""
        first, last = self.tokens[0].position, self.tokens[-1].position + self.tokens[-1].count - 1
        return str(first) if first == last else f"{first}–{last}"


@dataclass(frozen=True)
class Target:
    """A row's target for a head other than the language model's."""

    branch: str
    text: str
    count: int


@dataclass(frozen=True)
class InspectedRow:
    """One row; `problem` is the error at which training would stop."""

    id: str
    length: int = 0
    tokens: tuple[Token, ...] = ()
    targets: tuple[Target, ...] = ()
    problem: str = ""
    facts: Mapping[str, str] = field(default_factory=dict)

    @property
    def spans(self) -> Iterator[InspectedSpan]:
        """Neighbouring tokens of one origin together."""
        for (origin, branches), tokens in groupby(self.tokens, lambda token: (token.origin, token.supervised_by)):
            yield InspectedSpan(origin, branches, tuple(tokens))


@dataclass(frozen=True)
class InspectedBatch:
    """A batch.

    Args:
        title: the datasets of the batch.
        heads: output branch → its head's target and the features it reads.
        notes: targets that cannot be shown, and why.
    """

    title: str
    heads: Mapping[str, str]
    rows: tuple[InspectedRow, ...]
    notes: tuple[str, ...] = ()

    def _repr_html_(self) -> str:
        """Give the page in a frame, for notebooks."""
        return f'<iframe srcdoc="{escape(html(self))}" width="100%" height="600"></iframe>'

    @property
    def facts(self) -> dict[str, str]:
        """Counts of the batch."""
        lengths = [row.length for row in self.rows if not row.problem]
        tokens = [token for row in self.rows for token in row.tokens]
        longest = max(lengths, default=0)
        positions = longest * len(lengths)
        found = {"rows": str(len(self.rows)), "positions": f"{sum(lengths)}, longest row {longest}",
                 "padding": f"{1 - sum(lengths) / positions:.0%}" if positions else "none"}
        for origin in dict.fromkeys(token.origin for token in tokens):
            found[f"from {origin}"] = str(sum(token.count for token in tokens if token.origin == origin))
        found["supervised tokens"] = str(sum(bool(token.supervised_by) for token in tokens))
        for branch in dict.fromkeys(target.branch for row in self.rows for target in row.targets):
            counts = [target.count for row in self.rows for target in row.targets if target.branch == branch]
            found[f"targets of {branch}"] = str(sum(counts))
        return found


def inspect_batch(title: str, collator: Collator, samples: Sequence[Sample], notes: Sequence[str] = ()) -> InspectedBatch:
    """Collate samples as training would; a sample that does not fit becomes a problem, not an error."""
    heads = {name: _describe(collator.plan.outputs[name].head) for name in collator.branches}
    return InspectedBatch(title, heads, tuple(_inspect_row(collator, sample) for sample in samples), tuple(notes))


def html(shown: InspectedBatch) -> str:
    """Give a report as one page that needs nothing beside it."""
    from jinja2 import Environment

    template = Path(__file__).with_name("inspect.html.jinja").read_text(encoding="utf-8")
    return Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True).from_string(template).render(shown=shown)


def _inspect_row(collator: Collator, sample: Sample) -> InspectedRow:
    try:
        row = collator.row(sample)
        targets = _targets(collator, sample, row)
    except DataError as error:
        return InspectedRow(sample.id, problem=str(error), facts=sample.facts)
    return InspectedRow(sample.id, len(row.tokens), tuple(_tokens(collator, row)), targets, facts=sample.facts)


def _tokens(collator: Collator, row: CollatedRow) -> Iterator[Token]:
    position, first, media = 0, dict.fromkeys(row.signals, 0), iter(row.media)  # of the next token, of a branch's next signal
    heads, answers = collator.plan.outputs, set(row.answers)
    text_branches = tuple(name for name in collator.branches if heads[name].head.target == "tokens")
    for span in row.spans:
        if span.media:
            for branch, signals in next(media):
                found = _medium(collator.plan, row, branch, range(first[branch], first[branch] + signals), position)
                yield found
                position += found.count
                first[branch] += signals
            continue
        assert collator.tokenizer, "a plan with text has a tokenizer"
        for token, (text, origin) in zip(span.ids, _origins(collator, span), strict=True):
            shown = collator.tokenizer.shown(token, text)
            yield Token(position, shown, origin, text_branches if position in answers else (), token)
            position += 1


def _medium(plan: Plan, row: CollatedRow, branch: str, signals: range, position: int) -> Token:
    rate, first, spec = plan.inputs[branch].encoder.input.rate, signals[0], plan.inputs[branch].image_spec
    seconds = round(float(len(row.signals[branch][first]) / rate), 2) if rate else None
    counts = row.counts[branch][first:signals.stop]
    if branch in row.joined:
        ends = list(accumulate(medium.signals for medium in row.joined[branch]))
        counts = [row.counts[branch][ends.index(signals.stop)]]
    tiles = tuple(thumbnail(row.signals[branch][index]) for index in signals) if spec else ()
    return Token(position, row.transcripts[branch][first] or "", branch, count=sum(counts), seconds=seconds, tiles=tiles)


def _origins(collator: Collator, span: TokenSpan) -> list[tuple[str, str]]:
    """Give text and origin of each id of a span, aligned with its text from the end: a template may drop ids in front."""
    assert collator.tokenizer, "a plan with text has a tokenizer"
    text = "".join(segment.text for segment in span.segments)
    origins = [origin for segment in span.segments for count, origin in segment.origins for _ in range(count)]
    offsets = SpanText(span.segments, collator.tokenizer).offsets()
    found = [(text[start:end], origins[min(start, len(origins) - 1)]) for start, end in offsets][-len(span.ids):]
    return [("", "template")] * (len(span.ids) - len(found)) + found


def _targets(collator: Collator, sample: Sample, row: CollatedRow) -> tuple[Target, ...]:
    batch, plan = collator([sample]), collator.plan
    found: list[Target] = []
    for name, targets in batch.targets.items():
        rows = [ids[:length].tolist() for ids, length in zip(targets.ids, targets.lengths.tolist(), strict=True)]
        if plan.outputs[name].head.target == "codes":
            frames = [["/".join(map(str, code)) for code in ids] for ids in rows]
            found += [Target(name, " ".join([*ids[:MAX_CODES], *["…"][: len(ids) > MAX_CODES]]), len(ids)) for ids in frames]
        elif plan.outputs[name].head.target in ("transcript", "caption"):
            tokenizer = transcript_tokenizer(plan, name)
            assert tokenizer, "a branch with texts has a tokenizer"
            found += [Target(name, tokenizer.text(ids), len(ids)) for ids in rows]
        elif plan.outputs[name].head.target == "state":
            found += [Target(name, ("audio", "noise")[label], 1) for ids in rows for label in ids]
    missing = [name for name in collator.branches if name not in batch.targets]
    return (*found, *(Target(name, "none in this row", 0) for name in missing))


def _describe(head: HeadConfig) -> str:
    where = f"the features of {head.tap}"
    if head.target == "state":
        where = f"the hidden state at the last position of its audio ({head.tap})"
    elif head.tap == "embedding":
        where = "the spoken form of its answers' text"
    elif head.tap in BACKBONE_TAPS:
        where = {"predicts": "the hidden states that predict the answer's tokens",
                 "reads": "the hidden states at the answer's tokens"}.get(
            head.alignment, "the answer's tokens")
        where = f"{where} ({head.tap})"
    return f"learns {TARGETS[head.target]} from {where}"
