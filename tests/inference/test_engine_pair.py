"""Two models that swap roles give the events of one."""

from dataclasses import dataclass, field, replace

import pytest
from live_doubles import POLICY, Amplitude, ScriptedAnswer, ScriptedEngine, answering, audio, noise, silence, speech
from live_doubles import session as make_session

from omnikit.contracts.types import ContentPart, Message, Sample
from omnikit.inference.engine import AnswerOptions
from omnikit.inference.live.events import AnswerStarted, AudioDelta, Interrupted, LiveEvent
from omnikit.inference.live.session import LiveSession
from omnikit.inference.prefix_cache import PrefixCache
from omnikit.inference.scheduler.engine_pair import EnginePair, live_engine
from omnikit.inference.session import Session

TWO = replace(POLICY, models="two")
SAMPLE = Sample("q", (Message("user", (ContentPart("text", text="one"),)),))
CONVERSATION = audio(silence(5), speech(20), silence(20), speech(20), silence(30), speech(8), silence(11), speech(20),
                     silence(60))


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Session:
    return make_session(tmp_path_factory.mktemp("pair"))


def plain(events: list[LiveEvent]) -> list[object]:
    return [(event.at, event.item, event.start, event.waveform.tobytes()) if isinstance(event, AudioDelta) else event
            for event in events]


def test_events_of_two_models_are_those_of_one(session: Session) -> None:
    found = [LiveSession(session, live_engine(session, policy), policy, vad=Amplitude(), pace=1).push(CONVERSATION)
             for policy in (POLICY, TWO)]
    assert plain(found[0]) == plain(found[1])
    assert sum(isinstance(event, AnswerStarted) for event in found[0]) > 2
    assert any(isinstance(event, Interrupted) for event in found[0])


def test_the_models_swap_roles_at_a_query_and_not_at_noise(session: Session) -> None:
    words = " ".join(["one"] * 300)
    first = ScriptedEngine([answering(words, "audio"), answering("three", "audio")])
    second = ScriptedEngine([noise(), answering(words, "audio")])
    live = LiveSession(session, EnginePair(first, second), POLICY, vad=Amplitude(), pace=1)
    live.push(audio(speech(20), silence(20)))
    assert (len(first.asked), len(second.asked)) == (1, 0)
    live.push(audio(speech(10), silence(20)))  # noise: the first goes on
    assert (len(first.asked), len(second.asked), first.running[0].finish_reason) == (1, 1, None)
    live.push(audio(speech(10), silence(20)))  # a query: the second answers, the first is stopped
    assert (len(second.asked), first.running[0].finish_reason) == (2, "cancelled")
    live.push(audio(speech(10), silence(20)))  # a query: the first answers again
    assert (len(first.asked), second.running[1].finish_reason) == (2, "cancelled")


@dataclass
class PrefixEngine(ScriptedEngine):
    """Remembers the caches that it gets."""

    prefixes: list[PrefixCache | None] = field(default_factory=list)

    def begin(self, sample: Sample, options: AnswerOptions, prefix: PrefixCache | None = None) -> ScriptedAnswer:
        self.prefixes.append(prefix)
        return super().begin(sample, options, prefix)


def test_each_model_has_a_prefix_cache_of_the_conversation() -> None:
    first, second = (PrefixEngine([answering("one"), answering("two")]) for _ in range(2))
    pair, prefix = EnginePair(first, second), PrefixCache()
    for _ in range(4):
        pair.begin(SAMPLE, AnswerOptions(), prefix)
    (other, again) = second.prefixes
    assert first.prefixes == [prefix, prefix] and other is again is not prefix
    assert other is not None and other.encoded is prefix.encoded


def test_what_is_no_part_of_a_conversation_is_answered_by_the_first() -> None:
    first, second = ScriptedEngine([answering("one"), answering("two")]), ScriptedEngine([])
    pair = EnginePair(first, second)
    for _ in range(2):
        pair.begin(SAMPLE, AnswerOptions())
    assert len(first.asked) == 2 and not second.asked and pair.step()
