"""Instructions become spoken language: by the rules alone, or by a language model whose text then passes the same rules.

The model gets the paper's two requests in our own words: ask it as one would speak, then answer it briefly.
"""

import json
import random
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from omnikit.errors import DataError
from omnikit_spoken_instructions import rules
from omnikit_spoken_instructions.config import SpokenInstructions
from omnikit_spoken_instructions.sources import Entry, Rejected

BATCH = 16  # entries that a model rewrites together
ASK = ("Turn the written instruction into what a person would say aloud to a voice assistant. Keep its meaning and keep it"
       " short. Put in a filler such as hey, so, uh or um now and then, but not too often. Use only what can be read aloud:"
       " no symbols, no lists, no links, and every number as a word. Reply with JSON: {\"question\": \"...\"}.")
REPLY = ("Answer the spoken question as a voice assistant would say it: very briefly, in plain sentences that can be read"
         " aloud. Use no parentheses, no lists, no formatting and no links, and write every number as a word. Reply with"
         " JSON: {\"response\": \"...\"}.")
Write = Callable[[str, Sequence[str]], list[str]]


@dataclass(frozen=True)
class Rewritten:
    """Question and answer, as text that a voice can speak."""

    id: str
    origin: str
    question: str
    answer: str
    source_id: str = ""


class Rewriter(Protocol):
    """Rewrites a batch; the result of an entry does not depend on the batches before it."""

    def __call__(self, entries: Sequence[Entry]) -> list[Rewritten | Rejected]: ...


class Rules:
    """Rewrites without a model: the source's own answers, cut and made speakable."""

    def __init__(self, options: SpokenInstructions) -> None:
        self.options = options

    def __call__(self, entries: Sequence[Entry]) -> list[Rewritten | Rejected]:
        return [self._one(entry) for entry in entries]

    def _one(self, entry: Entry) -> Rewritten | Rejected:
        try:
            asked = rules.question(entry.question, self.options.question_words)
            answer = _answer(entry.answer, self.options.answer_words)
        except ValueError as reason:
            return Rejected(entry.id, str(reason), entry.question)
        rng = random.Random(f"{self.options.seed} filler {entry.id}")
        return Rewritten(entry.id, entry.origin, rules.with_filler(asked, self.options.fillers, rng), answer)


class ByModel:
    """Rewrites with a text-to-text callable: instructions and texts to texts."""

    def __init__(self, options: SpokenInstructions, write: Write) -> None:
        self.options, self.write = options, write

    def __call__(self, entries: Sequence[Entry]) -> list[Rewritten | Rejected]:
        found: dict[str, Rewritten | Rejected] = {}
        asked: list[tuple[Entry, str]] = []
        for entry, reply in zip(entries, self._written(ASK, [entry.question for entry in entries]), strict=True):
            try:
                asked.append((entry, rules.question(value(reply, "question"), self.options.question_words)))
            except ValueError as reason:
                found[entry.id] = Rejected(entry.id, f"rewritten question: {reason}", entry.question)
        for (entry, text), reply in zip(asked, self._written(REPLY, [text for _, text in asked]), strict=True):
            try:
                answer = rules.answer(value(reply, "response"), self.options.answer_words)
                found[entry.id] = Rewritten(entry.id, entry.origin, text, answer)
            except ValueError as reason:
                found[entry.id] = Rejected(entry.id, f"rewritten answer: {reason}", entry.question)
        return [found[entry.id] for entry in entries]

    def _written(self, request: str, texts: Sequence[str]) -> list[str]:
        """Write all at once; a text that the model cannot take is written alone and comes back empty."""
        if not texts:
            return []
        try:
            return self.write(request, texts)
        except DataError:
            return [self._alone(request, text) for text in texts]

    def _alone(self, request: str, text: str) -> str:
        try:
            return self.write(request, [text])[0]
        except DataError:
            return ""


def value(reply: str, key: str) -> str:
    """Give what a model's JSON holds under a key, or all of a reply that is no JSON."""
    found = re.search(r"\{.*\}", reply, re.DOTALL)
    try:
        values = json.loads(found.group()) if found else None
    except json.JSONDecodeError:
        values = None
    return str(values[key]) if isinstance(values, dict) and key in values else reply


def _answer(text: str, words: int) -> str:
    try:
        return rules.answer(text, words)
    except ValueError as reason:
        raise ValueError(f"answer: {reason}" if "answer" not in str(reason) else str(reason)) from None


def unrepeated(items: Sequence[Rewritten | Rejected]) -> list[Rewritten | Rejected]:
    """Reject each question whose words were asked before, whatever its fillers and marks."""
    seen: dict[str, str] = {}
    result: list[Rewritten | Rejected] = []
    for item in items:
        if isinstance(item, Rewritten):
            key = " ".join(word for word in re.findall(r"[\w']+", item.question.lower()) if word not in _FILLERS)
            if key in seen:
                item = Rejected(item.id, "asked before", item.question)
            seen.setdefault(key, item.id)
        result.append(item)
    return result


_FILLERS = {word for phrase in (*rules.STARTS, *rules.INSIDE) for word in phrase.lower().replace(",", "").split()}
