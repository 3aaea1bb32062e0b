"""`omnikit chat RUN --live`: a conversation with the machine's microphone and loudspeaker, or with a recording in their
place."""

import sys
from argparse import Namespace
from typing import TYPE_CHECKING

from omnikit.commands.arguments import Parser
from omnikit.errors import RunError

if TYPE_CHECKING:
    from omnikit.inference.live.audio_device import AudioDevice
    from omnikit.inference.live.events import LiveEvent
    from omnikit.inference.live.session import LiveSession
    from omnikit.inference.session import Session

OTHERS = ("text", "image", "video", "example", "history", "stream", "omega", "independent")  # options of typed questions
IGNORED = {"noise": "no question for the model: not answered", "dropped": "came during an answer that nothing interrupts"}


def check(parser: Parser, arguments: Namespace) -> None:
    """Refuse options that would have no effect."""
    if given := [f"--{name}" for name in OTHERS if getattr(arguments, name)]:
        parser.error(f"--live takes its questions from a microphone, or from --audio FILE, so {given[0]} has no effect; leave"
                     " it out")
    if arguments.out and not arguments.audio:
        parser.error("--out with --live is for a recording; add --audio FILE, or leave --out out and listen")
    if arguments.audio is None:
        from omnikit.inference.live.system_audio import sounddevice

        sounddevice()  # before the weights are read


def run(session: "Session", arguments: Namespace) -> None:
    """Talk until Ctrl-C, or until a recording is over."""
    from omnikit.inference.live.conversation import converse
    from omnikit.inference.live.session import LiveSession
    from omnikit.inference.scheduler.engine_pair import live_engine

    live = LiveSession(session, live_engine(session), system=arguments.system)
    device = _device(session, arguments)
    screen = Screen(live)
    screen.line(0, "ready", "speak; Ctrl-C ends" if arguments.audio is None else f"plays {arguments.audio}")
    try:
        for event in converse(live, device):
            screen.show(event)
    except KeyboardInterrupt:
        live.cancel()
    finally:
        screen.end()
        device.close()
    if arguments.out:
        sys.stdout.write(f"answers  {arguments.out}\n")


def _device(session: "Session", arguments: Namespace) -> "AudioDevice":
    from pathlib import Path

    from omnikit.inference.live.audio_device import FileDevice
    from omnikit.inference.live.system_audio import SystemAudio

    if arguments.audio is None:
        return SystemAudio()
    if arguments.out and session.speech is None:
        raise RunError(f"--out is {arguments.out}, but {session.plan.recipe.name} has no speech branch, so its answers have no"
                       " audio.")
    return FileDevice(Path(arguments.audio), arguments.out, limits=session.plan.recipe.media)


class Screen:
    """Owns what stands on the terminal: a line for each event, an answer's text as it comes."""

    def __init__(self, live: "LiveSession") -> None:
        self.live, self._open = live, ""  # the answer whose line is not ended

    def show(self, event: "LiveEvent") -> None:
        """Print an event; audio is not printed."""
        from omnikit.inference.live import events

        match event:
            case events.SpeechStarted():
                self.line(event.at, "listening")
            case events.TurnCommitted():
                self.line(event.at, "thinking")
            case events.TurnDecided(state="query"):
                self.line(event.at, "you", self._question(event.item))
            case events.TurnDecided():
                self.line(event.at, "ignored", IGNORED[event.state])
            case events.TextDelta():
                self._text(event.at, event.item, event.text)
            case events.Paused():
                self.line(event.at, "paused", f"at {event.played_ms / 1000:.1f} s of the answer")
            case events.Resumed():
                self.line(event.at, "resumed", f"from {event.played_ms / 1000:.1f} s of the answer")
            case events.Interrupted():
                played = f'played: "{event.text}"' if event.text else "nothing of it was played"
                self.line(event.at, "stopped", f"at {event.played_ms / 1000:.1f} s of the answer, {played}")
            case events.LiveError():
                self.line(event.at, "error", event.message)

    def line(self, at: int, word: str, text: str = "") -> None:
        """Print a line: the input clock in seconds, what happens, and its text."""
        self.end()
        sys.stdout.write(f"{at / 1000:6.1f} s  {word:<10}{text}".rstrip() + "\n")
        sys.stdout.flush()

    def end(self) -> None:
        """End the line of an answer."""
        sys.stdout.write("\n" if self._open else "")
        self._open = ""

    def _text(self, at: int, answer: str, text: str) -> None:
        if self._open != answer:
            self.end()
            sys.stdout.write(f"{at / 1000:6.1f} s  {'answer':<10}")
            self._open = answer
        sys.stdout.write(text)
        sys.stdout.flush()

    def _question(self, turn: str) -> str:
        """Give the transcript of a turn where the model gives any, else how long it is."""
        from omnikit.inference.live.transcripts import can_transcribe, turn_seconds, turn_transcript

        return turn_transcript(self.live, turn)[0] if can_transcribe(self.live) else f"({turn_seconds(self.live, turn):.1f} s)"
