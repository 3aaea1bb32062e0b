"""A live conversation with one model.

    engine = SingleEngine(session)
    live = LiveSession(session, engine, pace=2)
    for chunk in microphone:
        for event in live.push(chunk, 16000): ...

Every decision hangs on the input clock alone, which is the audio that was pushed: the same audio in pieces of any size gives
the same events where `pace` is set; else answers come when the engine, which the caller steps, has them.
"""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from omnikit.contracts.configs import VADConfig
from omnikit.contracts.types import ContentPart, Message
from omnikit.data.media.image import Pixels
from omnikit.errors import DataError
from omnikit.inference.engine import AnswerEngine, AnswerOptions
from omnikit.inference.live import storage
from omnikit.inference.live.events import LiveEvent, Truncated
from omnikit.inference.live.items import Reply, UserTurn
from omnikit.inference.live.prompts import PromptStarter
from omnikit.inference.live.replies import Replies, find_reply
from omnikit.inference.live.resampler import RATE, ResamplerState, check_rate, resample
from omnikit.inference.live.state import LiveState
from omnikit.inference.live.turn_encoder import TurnEncoder
from omnikit.inference.live.user_turns import PER_MS, UserTurns, shared_vad
from omnikit.inference.live.visual_messages import join_visual
from omnikit.inference.session import Session
from omnikit.plan.voice_activity import find_vad
from omnikit.recipe.live import TurnPolicy


class LiveSession:
    """See the module. Methods raise DataError for what cannot be done, of kinds "empty turn", "unknown item", "answer running".

    Args:
        session: the model, which any number of conversations share.
        engine: makes its answers, beside those of other conversations.
        policy: how turns are taken; None: the recipe's.
        seed: of the conversation: answers with draws are the same with the same seed.
        system: the system prompt; None: the template's own.
        vad: voice activity detection instead of the recipe's.
        options: of each answer.
        pace: decoding steps that `push` makes of the engine for each frame of 32 ms; None: the caller steps it.
    """

    def __init__(self, session: Session, engine: AnswerEngine, policy: TurnPolicy | None = None, *, seed: int = 0,
                 system: str | None = None, vad: VADConfig | None = None, options: AnswerOptions | None = None,
                 pace: int | None = None) -> None:
        self.session, self.engine, self.pace = session, engine, pace
        self._options = options or AnswerOptions()
        config = vad or find_vad(session.plan.recipe.live)
        self.vad, self.frame = shared_vad(config), config.frame
        self._adopt(LiveState(policy or session.plan.recipe.live.policy, seed, system, vad=dict(self.vad.init_state())))

    # ---- input ----

    def push(self, audio: NDArray[np.float32], sample_rate: int = RATE) -> list[LiveEvent]:
        """Take the next audio [N] of the microphone; gives what happened.

        Raises:
            DataError: it is not one channel of finite numbers, or its sample rate is impossible or another than before.
        """
        state, samples = self._state, np.asarray(audio, dtype=np.float32)
        check_rate(sample_rate)
        if samples.ndim != 1 or not np.isfinite(samples).all():
            raise DataError(f"audio has the shape {samples.shape}, but must be one channel [N] of finite numbers.",
                            kind="audio")
        state.resampler = state.resampler or ResamplerState(sample_rate)
        if state.resampler.rate != sample_rate:
            raise DataError(f"sample_rate is {sample_rate}, but was {state.resampler.rate} before; reset the session first.",
                            kind="sample rate")
        state.rest = np.concatenate([state.rest, resample(samples, state.resampler)])
        while len(state.rest) >= self.frame:
            frame, state.rest = state.rest[:self.frame], state.rest[self.frame:]
            self._turns.push(frame)
            for _ in range(self.pace or 0):
                self.engine.step()
                self._replies.receive()
        state.rest = state.rest.copy()
        return self.advance()

    def push_image(self, pixels: Pixels) -> None:
        """Take an image [H, W, 3] that the user shows: part of the turn that he is in, or of the next."""
        self._state.parts.append(ContentPart("image", pixels=np.asarray(pixels, dtype=np.uint8)))

    def push_text(self, text: str) -> None:
        """Take a text that the user writes: part of the turn that he is in, or of the next."""
        self._state.parts.append(ContentPart("text", text=text))

    # ---- turns by hand ----

    def commit(self) -> str:
        """End the user's turn here; gives its id. It holds the audio since he began, or since the last turn without detection.

        Raises DataError where there is neither audio nor text nor image.
        """
        return self._turns.commit().id

    def respond(self, options: AnswerOptions | None = None) -> str | None:
        """Begin an answer to the last turn; gives its id, or None where the engine refuses, which is an event.

        Answers that are complete count as played, unless the player reports what was.

        Raises DataError where an answer is being generated, or there is nothing to answer.
        """
        state = self._state
        if running := [reply for reply in state.replies() if reply.id in self._replies.streams]:
            raise DataError(f"{running[0].id} is being generated, so no other answer begins; cancel it first.",
                            kind="answer running")
        turn = next((item for item in reversed(state.items)
                     if isinstance(item, UserTurn) and item.message.role == "user"), None)
        if turn is None:
            raise DataError("There is no turn to answer; commit one first.", kind="empty turn")
        for earlier in state.replies():
            if earlier.complete and not earlier.cut and not earlier.reported:
                earlier.position = earlier.duration
        turn.state = None
        starter = self._replies.starter
        starter.options = options or self._options
        reply = self._replies.begin(turn)
        starter.options = self._options
        return reply.id if reply else None

    def cancel(self) -> None:
        """End the answer that is being generated or played, at what was played of it."""
        for reply in self._replies.undecided():
            self._replies.drop(reply)
        for reply in self._replies.active():
            if self._state.policy.turn_detection == "none" and not reply.reported and not reply.position:
                reply.position = reply.duration  # the input clock does not run: all that was given counts
            self._replies.interrupt(reply, "cancelled")

    def clear(self) -> None:
        """Drop the audio, texts and images of the turn that is not committed."""
        self._turns.clear()

    # ---- the engine's side ----

    def advance(self) -> list[LiveEvent]:
        """Give what happened since the last call: what the engine has ready, and what other methods did."""
        self._replies.receive()
        found, self._state.events = self._state.events, []
        return found

    # ---- playback ----

    def played(self, milliseconds: int) -> None:
        """Report how much audio of the last answer was played; without reports it plays as the input clock runs."""
        reply = next((one for one in reversed(self._state.replies()) if one.decided), None)
        if reply and not reply.cut:
            reply.reported, reply.position = True, min(max(milliseconds, 0) * PER_MS, reply.duration)

    def truncate(self, item: str, milliseconds: int) -> None:
        """Let the history hold of an answer the words that were played until then; one that is generated is cancelled.

        Less than 0 counts as 0, more than there is as all that was given. Raises DataError for an unknown item.
        """
        reply = find_reply(self._state, item)
        running = not reply.over
        self._replies.stop(reply)
        reply.complete = reply.complete and milliseconds * PER_MS >= reply.duration
        reply.position = min(max(milliseconds, 0) * PER_MS, reply.duration)
        self._state.emit(Truncated(self._state.at, item, reply.played_ms, reply.played_text))
        if running:
            self._replies.end(reply, "cancelled")

    # ---- the conversation ----

    @property
    def policy(self) -> TurnPolicy:
        """How turns are taken; may be set at any time."""
        return self._state.policy

    @policy.setter
    def policy(self, policy: TurnPolicy) -> None:
        self._state.policy = policy

    @property
    def options(self) -> AnswerOptions:
        """How answers are made; what is set counts from the next one."""
        return self._options

    @options.setter
    def options(self, options: AnswerOptions) -> None:
        self._options = self._replies.starter.options = options

    @property
    def system(self) -> str | None:
        """The system prompt; what is set counts from the next answer."""
        return self._state.system

    @system.setter
    def system(self, system: str | None) -> None:
        self._state.system = system

    @property
    def history(self) -> list[Message]:
        """The conversation: turns that were no noise, with the images that belong to them, and of answers the words played."""
        return join_visual(self._state.messages(prompt=False), self._replies.starter.pairs)

    @property
    def items(self) -> list[UserTurn | Reply]:
        """Turns and answers in order, with what became of them."""
        return list(self._state.items)

    def add(self, message: Message, item: str | None = None, *, after: str | None = None) -> str:
        """Put a message into the conversation, at its end or behind an item ("" is the beginning); gives its id.

        Raises DataError for an unknown item.
        """
        state = self._state
        place = len(state.items) if after is None else state.place(after) + 1 if after else 0
        state.turns += item is None
        made = UserTurn(item or f"turn_{state.turns}", message, state="query")
        state.items.insert(place, made)
        return made.id

    def remove(self, item: str) -> None:
        """Take a turn or an answer out of the conversation; raises DataError for an unknown one."""
        found = self._state.items.pop(self._state.place(item))
        if isinstance(found, Reply):
            self._replies.stop(found)

    # ---- state ----

    def state(self) -> LiveState:
        """Give a copy of all that changes; an answer that runs begins again where it is restored, and goes on where it was."""
        return deepcopy(self._state)

    def restore(self, state: LiveState) -> None:
        """Go on from a state; answers that run now are cancelled."""
        self._replies.close()
        self._adopt(deepcopy(state))

    def copy(self) -> LiveSession:
        """Give a conversation of its own that goes on from here."""
        made = LiveSession.__new__(LiveSession)
        made.__dict__.update(self.__dict__)
        made._adopt(self.state())
        return made

    def reset(self) -> None:
        """Begin a new conversation with the same policy, seed and system prompt."""
        old = self._state
        self.restore(LiveState(old.policy, old.seed, old.system, vad=dict(self.vad.init_state())))

    def save(self, path: str | Path) -> None:
        """Write the state to a file; raises RunError where the disk refuses."""
        storage.save(self._state, Path(path))

    def load(self, path: str | Path) -> None:
        """Go on from the state of a file; raises RunError where it is not one."""
        self.restore(storage.load(Path(path)))

    def _adopt(self, state: LiveState) -> None:
        self._state = state
        starter = PromptStarter(self.session, self.engine, self._options)
        self._replies = Replies(self.engine, state, starter)
        self._turns = UserTurns(self.vad, state, self._replies, TurnEncoder(self.session, starter.prefix.encoded))
