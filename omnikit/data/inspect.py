"""One batch as people read it: where each token comes from, what is learnt of it, what the other heads shall give.

Asks the collator for everything: what is shown is what training gets. Runs no model.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path

from omnikit.contracts.configs import HeadConfig
from omnikit.contracts.types import Sample
from omnikit.data.batch.collate import CollatedRow, Collator, transcriber
from omnikit.data.media.image import thumbnail
from omnikit.data.text.templates import PADDING
from omnikit.data.text.tokenise import TokenRun
from omnikit.errors import DataError
from omnikit.plan.graph import BACKBONE_TAPS
from omnikit.plan.plan import Plan

TARGETS = {"tokens": "the answer's tokens", "codes": "the answer's codes", "transcript": "what the audio says",
           "caption": "what the image shows", "state": "whether the question was meant for it"}
SHOWN = 400  # codes of a row


@dataclass(frozen=True)
class Token:
    """One position of a row, or one medium with all of its positions.

    Args:
        place: the first position, from 0.
        text: the token's text; of a medium what is said in it.
        origin: "template", "system", "question", "answer", or the input branch of a medium.
        learnt: output branches that learn it as a token.
        id: the token's id; None for a medium.
        count: positions.
        seconds: of a medium that sounds.
        tiles: of an image, or frames of a video, small and as data URLs: what the encoder is given.
    """

    place: int
    text: str
    origin: str
    learnt: tuple[str, ...] = ()
    id: int | None = None
    count: int = 1
    seconds: float | None = None
    tiles: tuple[str, ...] = ()


@dataclass(frozen=True)
class InspectedRun:
    """Neighbours of one origin."""

    origin: str
    learnt: tuple[str, ...]
    tokens: tuple[Token, ...]

    @property
    def places(self) -> str:
        """First and last position."""
        first, last = self.tokens[0].place, self.tokens[-1].place + self.tokens[-1].count - 1
        return str(first) if first == last else f"{first}–{last}"


@dataclass(frozen=True)
class Target:
    """What a head other than the language model's shall give for a row."""

    branch: str
    text: str
    count: int


@dataclass(frozen=True)
class Shown:
    """One row; `problem` is the sentence for which training would stop at it."""

    id: str
    length: int = 0
    tokens: tuple[Token, ...] = ()
    targets: tuple[Target, ...] = ()
    problem: str = ""
    facts: Mapping[str, str] = field(default_factory=dict)

    @property
    def runs(self) -> Iterator[InspectedRun]:
        """Neighbouring tokens of one origin together."""
        for (origin, learnt), tokens in groupby(self.tokens, lambda token: (token.origin, token.learnt)):
            yield InspectedRun(origin, learnt, tuple(tokens))


@dataclass(frozen=True)
class Report:
    """A batch.

    Args:
        title: what it is a batch of.
        heads: output branch → what its head learns and where it reads.
        notes: targets that cannot be shown, and why.
    """

    title: str
    heads: Mapping[str, str]
    rows: tuple[Shown, ...]
    notes: tuple[str, ...] = ()

    @property
    def facts(self) -> dict[str, str]:
        """Give the batch in numbers."""
        lengths = [row.length for row in self.rows if not row.problem]
        tokens = [token for row in self.rows for token in row.tokens]
        longest = max(lengths, default=0)
        whole = longest * len(lengths)
        found = {"rows": str(len(self.rows)), "positions": f"{sum(lengths)}, longest row {longest}",
                 "padding": f"{1 - sum(lengths) / whole:.0%}" if whole else "none"}
        for origin in dict.fromkeys(token.origin for token in tokens):
            found[f"from {origin}"] = str(sum(token.count for token in tokens if token.origin == origin))
        found["learnt as tokens"] = str(sum(bool(token.learnt) for token in tokens))
        for branch in dict.fromkeys(target.branch for row in self.rows for target in row.targets):
            counts = [target.count for row in self.rows for target in row.targets if target.branch == branch]
            found[f"learnt by {branch}"] = str(sum(counts))
        return found


def report(title: str, collator: Collator, samples: Sequence[Sample], notes: Sequence[str] = ()) -> Report:
    """Look at samples as training would collate them; a sample that does not fit becomes a problem, not an error."""
    heads = {name: _describe(collator.plan.outputs[name].head) for name in collator.wanted}
    return Report(title, heads, tuple(_shown(collator, sample) for sample in samples), tuple(notes))


def html(shown: Report) -> str:
    """Give a report as one page that needs nothing beside it."""
    from jinja2 import Environment

    template = Path(__file__).with_name("inspect.html.jinja").read_text(encoding="utf-8")
    return Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True).from_string(template).render(shown=shown)


def _shown(collator: Collator, sample: Sample) -> Shown:
    try:
        row = collator.row(sample)
        targets = _targets(collator, sample, row)
    except DataError as error:
        return Shown(sample.id, problem=str(error), facts=sample.facts)
    return Shown(sample.id, len(row.tokens), tuple(_tokens(collator, row)), targets, facts=sample.facts)


def _tokens(collator: Collator, row: CollatedRow) -> Iterator[Token]:
    place, heard, media = 0, dict.fromkeys(row.signals, 0), iter(row.media)
    heads, answers = collator.plan.outputs, set(row.answers)
    writers = tuple(name for name in collator.wanted if heads[name].head.target == "tokens")
    for piece in row.pieces:
        if piece.media:
            branch, signals = next(media)
            yield _medium(collator.plan, row, branch, range(heard[branch], heard[branch] + signals), place)
            place += sum(row.counts[branch][heard[branch]:heard[branch] + signals])
            heard[branch] += signals
            continue
        for token, (text, origin) in zip(piece.ids, _origins(collator, piece), strict=True):
            yield Token(place, text, origin, writers if place in answers else (), token)
            place += 1


def _medium(plan: Plan, row: CollatedRow, branch: str, signals: range, place: int) -> Token:
    rate, first, spec = plan.inputs[branch].encoder.input.rate, signals[0], plan.inputs[branch].image_spec
    seconds = round(float(len(row.signals[branch][first]) / rate), 2) if rate else None
    counts = row.counts[branch][first:signals.stop]
    tiles = tuple(thumbnail(row.signals[branch][index], spec) for index in signals) if spec else ()
    return Token(place, row.heard[branch][first] or "", branch, count=sum(counts), seconds=seconds, tiles=tiles)


def _origins(collator: Collator, piece: TokenRun) -> list[tuple[str, str]]:
    """Give text and origin of each id of a piece, held against its text from the end: a template may drop ids in front."""
    assert collator.tokenizer, "what has pieces has a tokenizer"
    text = "".join(segment.text for segment in piece.segments)
    origins = [origin for segment in piece.segments for count, origin in segment.origins for _ in range(count)]
    spans = collator.tokenizer.spans(text)
    found = [(text[start:end], origins[min(start, len(origins) - 1)]) for start, end in spans][-len(piece.ids):]
    return [("", "template")] * (len(piece.ids) - len(found)) + found


def _targets(collator: Collator, sample: Sample, row: CollatedRow) -> tuple[Target, ...]:
    batch, plan = collator([sample]), collator.plan
    found: list[Target] = []
    for name, targets in batch.targets.items():
        rows = [ids[ids != PADDING].tolist() for ids in targets.ids]
        if plan.outputs[name].head.target == "codes":
            found += [Target(name, " ".join([*map(str, ids[:SHOWN]), *["…"][: len(ids) > SHOWN]]), len(ids)) for ids in rows]
        elif plan.outputs[name].head.target in ("transcript", "caption"):
            tokenizer = transcriber(plan, name)
            assert tokenizer, "a branch with texts has a tokenizer"
            found += [Target(name, tokenizer.text(ids), len(ids)) for ids in rows]
        elif plan.outputs[name].head.target == "state":
            found += [Target(name, ("audio", "noise")[label], 1) for ids in rows for label in ids]
    missing = [name for name in collator.wanted if name not in batch.targets]
    return (*found, *(Target(name, "nothing: this row has no target for it", 0) for name in missing))


def _describe(head: HeadConfig) -> str:
    where = f"the features of {head.tap}"
    if head.target == "state":
        where = f"the state at the last position of its audio ({head.tap})"
    elif head.tap == "embedding":
        where = "the words of its answers as they are spoken"
    elif head.tap in BACKBONE_TAPS:
        where = {"predicts": "the states that predict the answer's tokens", "reads": "the states at the answer's tokens"}.get(
            head.alignment, "the answer's tokens")
        where = f"{where} ({head.tap})"
    return f"learns {TARGETS[head.target]} from {where}"
