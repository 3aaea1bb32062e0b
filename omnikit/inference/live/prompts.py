"""Asks an engine for an answer with as much of the conversation as the context of the backbone holds."""

from __future__ import annotations

from dataclasses import replace

from omnikit.contracts.types import Message, Sample
from omnikit.errors import DataError
from omnikit.inference.engine import AnswerEngine, AnswerOptions, AnswerStream
from omnikit.inference.live.events import TurnsDropped
from omnikit.inference.live.items import Reply, UserTurn
from omnikit.inference.live.state import LiveState
from omnikit.inference.live.visual_messages import join_visual, trained_pairs
from omnikit.inference.prefix_cache import PrefixCache
from omnikit.inference.session import Session

ROOM = 4  # a prompt leaves this part of the context to the answer: a quarter


class PromptStarter:
    """Owns the conversation's prefix cache.

    Args:
        session: whose model the engine runs.
        options: of each answer, but for its seed.
    """

    def __init__(self, session: Session, engine: AnswerEngine, options: AnswerOptions) -> None:
        self.session, self.engine, self.options, self.prefix = session, engine, options, PrefixCache()
        self.pairs = trained_pairs(session.plan)

    @property
    def spoken(self) -> bool:
        """Whether answers have audio."""
        return self.session.speech is not None and self.options.speak

    @property
    def _most(self) -> int | None:
        """Positions that a prompt may take."""
        plan = self.session.plan
        if plan.backbone is None:
            return None
        most = self.options.max_new_tokens or plan.recipe.generate.max_new_tokens
        return plan.backbone.context - min(most, plan.backbone.context // ROOM)

    def begin(self, state: LiveState, turn: UserTurn, seed: int) -> tuple[AnswerStream, tuple[Message, ...]]:
        """Begin the answer to a turn; the oldest turns are dropped until it fits, which is an event.

        Raises:
            OmnikitError: the engine refuses, or the turn alone is too long.
        """
        dropped, most = list[str](), self._most
        while True:
            prompt = tuple(join_visual(state.messages(prompt=True), self.pairs))
            oldest = [item for item in state.items if not item.dropped and item is not turn and item.id != turn.id]
            try:
                stream = self.ask(Sample(turn.id, prompt), seed)
                if not oldest or most is None or stream.prompt_tokens <= most:
                    break
                stream.cancel()
            except DataError as error:
                if error.kind != "too long" or not oldest:
                    raise
            dropped += _drop(oldest)
        if dropped:
            state.emit(TurnsDropped(state.at, turn.id, tuple(dropped)))
        return stream, prompt

    def ask(self, sample: Sample, seed: int) -> AnswerStream:
        """Begin an answer to what is asked exactly."""
        return self.engine.begin(sample, replace(self.options, seed=seed), self.prefix)


def _drop(items: list[UserTurn | Reply]) -> list[str]:
    """Drop the oldest turn with the answers up to the next turn; gives their ids."""
    count = next((index for index, item in enumerate(items) if index and isinstance(item, UserTurn)), len(items))
    for item in items[:count]:
        item.dropped = True
    return [item.id for item in items[:count]]
