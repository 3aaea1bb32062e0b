"""The answers of one conversation: asked of an engine, decided, given, held back, resumed, interrupted."""

from __future__ import annotations

from typing import Literal

from omnikit.contracts.types import Sample
from omnikit.errors import DataError, OmnikitError
from omnikit.inference.answer import Event
from omnikit.inference.answer_states import NOISE
from omnikit.inference.engine import AnswerEngine, AnswerStream
from omnikit.inference.live.events import (
    AnswerDone,
    AnswerStarted,
    AudioDelta,
    Interrupted,
    LiveError,
    Paused,
    Resumed,
    TextDelta,
    TurnDecided,
)
from omnikit.inference.live.items import Reply, UserTurn
from omnikit.inference.live.prompts import PromptStarter
from omnikit.inference.live.restarted import Restarted
from omnikit.inference.live.state import LiveState

Reason = Literal["stop", "length", "noise", "cancelled", "interrupted", "error"]


class Replies:
    """Owns the streams of the answers that run; everything else is in the state.

    Args:
        engine: makes the answers.
        state: of the conversation.
        starter: asks the engine with a prompt that fits.
    """

    def __init__(self, engine: AnswerEngine, state: LiveState, starter: PromptStarter) -> None:
        self.engine, self.state, self.starter = engine, state, starter
        self.streams: dict[str, AnswerStream] = {}
        for reply in state.replies():
            if reply.prompt:
                self._restart(reply)

    # ---- questions about them ----

    def active(self) -> list[Reply]:
        """Give the answers that can be interrupted."""
        return [reply for reply in self.state.replies() if reply.active]

    def undecided(self) -> list[Reply]:
        """Give the answers to turns of which it is open whether they are queries."""
        return [reply for reply in self.state.replies() if reply.id in self.streams and not reply.decided]

    # ---- beginning ----

    def begin(self, turn: UserTurn, *, speculative: bool = False) -> Reply | None:
        """Ask for the answer to a turn, which is the last item; None, and an event, where the engine refuses."""
        for other in self.undecided():
            self.drop(other)
        state = self.state
        state.answers += 1
        reply = Reply(f"answer_{state.answers}", turn.id, self.starter.spoken, state.seed * 1_000_003 + state.answers,
                      speculative=speculative)
        try:
            stream, prompt = self.starter.begin(state, turn, reply.seed)
        except OmnikitError as error:
            state.emit(LiveError(state.at, turn.id, str(error)))
            self._release()
            return None
        reply.prompt, self.streams[reply.id] = prompt, stream
        state.items.append(reply)
        return reply

    def confirm(self) -> bool:
        """Let a speculative answer be given, because the turn ended; False where there is none."""
        found = [reply for reply in self.state.replies() if reply.speculative]
        for reply in found:
            reply.speculative = False
        return bool(found)

    def discard_speculative(self) -> Reply | None:
        """Discard a speculative answer, because the user went on."""
        found = next((reply for reply in self.state.replies() if reply.speculative), None)
        if found:
            self.drop(found)
        return found

    def close(self) -> None:
        """Cancel all answers that run."""
        for stream in self.streams.values():
            stream.cancel()
        self.streams.clear()

    def _restart(self, reply: Reply) -> None:
        """Ask again for an answer of a saved state; what it had given is skipped."""
        try:
            stream = self.starter.ask(Sample(reply.turn, reply.prompt), reply.seed)
        except OmnikitError as error:
            reply.reason, reply.error, reply.prompt = "error", str(error), ()
            return
        given = [event.waveform for event in reply.ready if event.waveform is not None]
        marks = [*reply.marks, *(mark for event in reply.ready for mark in event.marks)]
        skipped = (len(reply.text) + sum(len(event.text) for event in reply.ready), reply.samples + sum(map(len, given)),
                   marks[-1][0] if marks else -1)
        self.streams[reply.id] = Restarted(stream, skipped, decided=reply.decided or bool(reply.ready))

    # ---- the engine's events ----

    def receive(self) -> None:
        """Take what the engine has ready, and give what may be given."""
        for reply in self.state.replies():
            stream = self.streams.get(reply.id)
            if stream is None:
                continue
            reply.ready += stream.take()
            if stream.done:
                reply.reason = "error" if stream.error else stream.finish_reason or "stop"
                reply.error, reply.usage = str(stream.error) if stream.error else None, stream.usage
                reply.prompt = ()
                del self.streams[reply.id]
        for reply in self.state.replies():
            self.give(reply)

    def give(self, reply: Reply) -> None:
        """Give the events of an answer that are ready, unless they are held back."""
        if reply.speculative or reply.over or reply.cut:
            return
        if not reply.decided and (reply.ready or reply.reason):
            self._decide(reply)
        if not reply.decided or reply.paused:
            return
        ready, reply.ready = reply.ready, []
        for event in ready:
            self._give_event(reply, event)
        if reply.reason is not None:
            if reply.error:
                self.state.emit(LiveError(self.state.at, reply.id, reply.error))
            reply.complete = reply.error is None
            self.end(reply, _reason(reply.reason))

    def _give_event(self, reply: Reply, event: Event) -> None:
        at = self.state.at
        if event.text:
            reply.give_text(event.text)
            self.state.emit(TextDelta(at, reply.id, event.text))
        if event.waveform is not None and len(event.waveform):
            start = reply.samples
            reply.give_audio(event)
            self.state.emit(AudioDelta(at, reply.id, event.waveform, event.sample_rate, start))
        elif event.marks:
            reply.marks += event.marks

    def _decide(self, reply: Reply) -> None:
        """Make of the first events whether the turn is a query, which ends what else is being said."""
        state, turn = self.state, self._turn(reply)
        reply.state = next((event.state for event in reply.ready if event.state), None)
        if reply.error and not reply.ready:
            state.emit(LiveError(state.at, reply.turn, reply.error))
            self.drop(reply)
            self._release()
        elif reply.state == NOISE or reply.reason == NOISE:
            if turn:
                turn.state = "noise"
            state.emit(TurnDecided(state.at, reply.turn, "noise", NOISE))
            self.drop(reply)
            self._release()
        else:
            for other in self.active():
                self.interrupt(other)
            if turn:
                turn.state = "query"
            reply.decided = True
            state.emit(TurnDecided(state.at, reply.turn, "query", reply.state))
            state.emit(AnswerStarted(state.at, reply.id, reply.turn))
            if state.segments.speaking and state.policy.interrupt == "speech":
                self._pause(reply)

    def _turn(self, reply: Reply) -> UserTurn | None:
        return next((item for item in self.state.items if isinstance(item, UserTurn) and item.id == reply.turn), None)

    def drop(self, reply: Reply) -> None:
        """Drop an answer of which nothing was given."""
        stream = self.streams.pop(reply.id, None)
        if stream:
            stream.cancel()
        self.state.items.remove(reply)

    # ---- interruption ----

    def speech_started(self) -> None:
        """Hold back, or end, the audio of answers because the user speaks."""
        policy = self.state.policy
        if policy.interrupt != "speech":
            return
        for reply in self.active():
            if policy.answer:
                self._pause(reply)
            else:  # nothing will decide whether it goes on
                self.interrupt(reply)

    def interrupt(self, reply: Reply, reason: Reason = "interrupted") -> None:
        """End an answer at what was played of it."""
        state = self.state
        self.stop(reply)
        state.emit(Interrupted(state.at, reply.id, reply.played_ms, reply.played_text))
        if not reply.over:
            self.end(reply, reason)

    def end(self, reply: Reply, reason: Reason) -> None:
        """Report that nothing more is generated of an answer."""
        reply.over = True
        self.state.emit(AnswerDone(self.state.at, reply.id, reason))

    def stop(self, reply: Reply) -> None:
        """Stop the generation of an answer and let the history hold what was played of it."""
        stream = self.streams.pop(reply.id, None)
        if stream:
            stream.cancel()
            reply.usage = stream.usage
        reply.cut, reply.paused, reply.ready, reply.prompt, reply.audio = True, False, [], (), []

    def _pause(self, reply: Reply) -> None:
        if not reply.paused:
            reply.paused = True
            self.state.emit(Paused(self.state.at, reply.id, reply.played_ms))

    def _release(self) -> None:
        """Let answers that the user's speech held back go on, or end them, because it was no query."""
        for reply in self.active():
            if reply.paused and self.state.policy.resume:
                self._resume(reply)
            elif reply.paused:
                self.interrupt(reply)

    def _resume(self, reply: Reply) -> None:
        state, rest = self.state, reply.rest()
        reply.paused = False
        state.emit(Resumed(state.at, reply.id, reply.played_ms))
        if len(rest):
            state.emit(AudioDelta(state.at, reply.id, rest, reply.sample_rate, reply.played))
        self.give(reply)


def find_reply(state: LiveState, item: str) -> Reply:
    """Give the answer of an id; raises DataError of kind "unknown item"."""
    found = next((reply for reply in state.replies() if reply.id == item), None)
    if found is None:
        known = ", ".join(reply.id for reply in state.replies()) or "none"
        raise DataError(f"item is {item!r}, but must be the id of an answer of this conversation: {known}.",
                        kind="unknown item")
    return found


def _reason(reason: str) -> Reason:
    known: dict[str, Reason] = {"length": "length", "noise": "noise", "cancelled": "cancelled", "error": "error"}
    return known.get(reason, "stop")
