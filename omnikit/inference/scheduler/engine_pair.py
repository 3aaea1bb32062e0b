"""VITA's two models for comparison: while one makes a conversation's answer, the other decides the next turn; if that is a
query, the first one is stopped and they swap roles (arXiv:2408.05211).

Ours needs one: the answer and the turn that is decided are two rows of one engine. The events are the same.
"""

from __future__ import annotations

from weakref import WeakKeyDictionary

from omnikit.contracts.types import Sample
from omnikit.inference.engine import AnswerEngine, AnswerOptions, AnswerStream
from omnikit.inference.prefix_cache import PrefixCache
from omnikit.inference.scheduler.batch import engine_for
from omnikit.inference.session import Session
from omnikit.recipe.live import TurnPolicy


class EnginePair:
    """Two engines as one, see omnikit.inference.engine.AnswerEngine; a conversation is known by its prefix cache.

    Args:
        first: makes what is no part of a conversation, and each first answer.
        second: of the same weights.
    """

    def __init__(self, first: AnswerEngine, second: AnswerEngine) -> None:
        self.engines = (first, second)
        self._running: WeakKeyDictionary[PrefixCache, tuple[int, AnswerStream]] = WeakKeyDictionary()
        self._seconds: WeakKeyDictionary[PrefixCache, PrefixCache] = WeakKeyDictionary()

    def begin(self, sample: Sample, options: AnswerOptions, prefix: PrefixCache | None = None) -> AnswerStream:
        """Begin an answer with the engine that makes none for this conversation."""
        if prefix is None:
            return self.engines[0].begin(sample, options)
        role = self._free(prefix)
        stream = self.engines[role].begin(sample, options, prefix if role == 0 else self._second(prefix))
        self._running[prefix] = role, stream
        return stream

    def step(self) -> bool:
        """Do one step of both."""
        running = [engine.step() for engine in self.engines]
        return any(running)

    def _free(self, prefix: PrefixCache) -> int:
        """Give the number of the engine that does not make the conversation's last answer."""
        role, stream = self._running.get(prefix, (1, None))
        return role if stream is not None and stream.done else 1 - role

    def _second(self, prefix: PrefixCache) -> PrefixCache:
        """Give the conversation's cache of the second engine; the features of its turns are the same."""
        found = self._seconds.get(prefix)
        if found is None:
            found = self._seconds[prefix] = PrefixCache(prefix.limit)
            found.encoded = prefix.encoded
        return found


def live_engine(session: Session, policy: TurnPolicy | None = None) -> AnswerEngine:
    """Give what makes a session's live answers: one engine, or two where the policy (None: the recipe's) has two models.

    Raises:
        PlanError: the model has no backbone.
    """
    policy = policy or session.plan.recipe.live.policy
    return EnginePair(engine_for(session), engine_for(session)) if policy.models == "two" else engine_for(session)
