"""`omnikit chat RUN`: ask a trained run by audio, text, image or video; prints its answer and writes its speech to a file.
Without a question: a loop; with --live a spoken conversation."""

import sys
from argparse import Namespace
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from omnikit.commands import live_chat
from omnikit.commands.arguments import Parser, at_least_one
from omnikit.commands.streamed import NO_ANSWER, show, silent
from omnikit.errors import OmnikitError, RunError

if TYPE_CHECKING:
    from omnikit.contracts.types import ContentPart, Message
    from omnikit.inference.session import Session
    from omnikit.recipe.media import MediaLimits

EXAMPLE = "example: omnikit chat llama_omni/tiny --audio question.wav --out answer.wav"
OMEGA = 10  # codes of a segment; the smallest of LLaMA-Omni's paper, arXiv:2409.06666
MEDIA = {  # modality → the endings of its files, by which a line of the loop is read
    "audio": (".wav", ".flac", ".ogg", ".mp3"),
    "image": (".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp"),
    "video": (".mp4", ".webm", ".mkv", ".mov", ".avi"),
}
HELP = "A line is a question: text, and paths of audio, images and videos; /help shows this, :q, /exit or Ctrl-D ends.\n"
ENDS = (":q", ":quit", "/q", "/quit", "/exit", "quit", "exit")
EXAMPLES = {"audio": ".wav", "image": ".png", "video": ".mp4"}  # modality → the ending of files that --example writes


def run(argv: list[str]) -> int:
    """Answer one question, or line after line of them: a text, and paths of audio, images and videos; `:q` ends."""
    parser = Parser("omnikit chat", description=__doc__, epilog=EXAMPLE)
    parser.add_argument("run", help="a run's folder, a link to one, or a recipe's name")
    parser.add_argument("--audio", help="audio file with the question")
    parser.add_argument("--text", help="text of the question, after the audio if both are given")
    parser.add_argument("--image", action="append", help="image that is asked about; several: one --image for each")
    parser.add_argument("--video", action="append", help="video that is asked about; several: one --video for each")
    parser.add_argument("--example", action="store_true", help="ask a held-out question of the recipe's data; its audio,"
                        " images and videos go beside --out")
    parser.add_argument("--system", help="system prompt, instead of the template's own")
    parser.add_argument("--out", type=Path, help="wav for the spoken answer; in the loop numbered: out-1.wav, out-2.wav, …")
    parser.add_argument("--history", action="store_true", help="in the loop, keep the earlier turns in the prompt")
    parser.add_argument("--stream", action="store_true", help="give text and audio while they are generated: the audio in"
                        " numbered files beside --out; then print how long it took")
    parser.add_argument("--omega", type=at_least_one, help="with --stream: codes that make a segment of audio (default 10)")
    parser.add_argument("--independent", action="store_true", help="with --stream: synthesise each segment on its own,"
                        " as the original LLaMA-Omni does; sooner, with seams")
    parser.add_argument("--voice", type=Path, metavar="FILE", help="answer in this voice, a file of omnikit voice extract")
    parser.add_argument("--live", action="store_true", help="talk with the machine's microphone and loudspeaker; with --audio a"
                        " recording takes their place, in real time, and --out gets what was played")
    parser.add_argument("--load-in", choices=("8bit", "4bit"), help="hold the backbone's matrices in 8 or 4 bits")
    arguments = parser.parse_args(argv)
    _check(parser, arguments)

    from omnikit.inference.session import load

    session = load(arguments.run, load_in=arguments.load_in)
    if arguments.voice:
        _use_voice(session, arguments.voice)
    if arguments.live:
        live_chat.run(session, arguments)
        return 0
    question = _example(session, arguments.out) if arguments.example else Question(
        arguments.audio, arguments.text, arguments.image, arguments.video)
    chat = Chat(session, arguments.system, omega=(arguments.omega or OMEGA) if arguments.stream else None,
                    independent=arguments.independent)
    if question != Question():
        chat.ask(question, arguments.out)
    else:
        chat.history = [] if arguments.history else None
        _loop(chat, arguments.out)
    return 0


def _use_voice(session: "Session", voice: Path) -> None:
    from omnikit.inference.voices import use

    if session.speech is None:
        raise RunError(f"--voice is {voice}, but {session.plan.recipe.name} has no speech branch, so it has no voice.")
    use(session.speech, session.model.codec(session.speech.name), voice)


def _check(parser: Parser, arguments: Namespace) -> None:
    """Refuse options that contradict one another or would be dropped, before the model is loaded."""
    if arguments.live:
        live_chat.check(parser, arguments)
    asked = [f"--{name}" for name in ("audio", "text", "image", "video") if getattr(arguments, name) is not None]
    for flag in asked:
        given = getattr(arguments, flag[2:])
        if not all(value.strip() for value in (given if isinstance(given, list) else [given])):
            parser.error(f"{flag} is empty; ask something, or leave it out for a loop of questions")
    if arguments.example and asked:
        parser.error(f"--example brings its own question, so {asked[0]} would not be asked; leave one of them out")
    if arguments.history and (arguments.example or asked):
        parser.error(f"--history is for a loop of questions, but {'--example' if arguments.example else asked[0]} asks one;"
                     " leave one of them out")
    if not arguments.stream and (arguments.omega or arguments.independent):
        parser.error(f"{'--omega' if arguments.omega else '--independent'} shapes a stream; add --stream")
    out: Path | None = arguments.out
    if out and out.is_dir():
        raise RunError(f"--out is {out}, which is a folder; name a wav file, for example --out answer.wav.")
    if out and out.suffix.lower() != ".wav":
        raise RunError(f"--out is {out}, but answers are written as WAV; name it {out.with_suffix('.wav')}.")
    if out and not out.parent.is_dir():
        raise RunError(f"--out is {out}, but there is no folder {out.parent}; make it first.")


@dataclass(frozen=True)
class Question:
    """One question: paths and a text."""

    audio: str | None = None
    text: str | None = None
    image: list[str] | None = None
    video: list[str] | None = None


@dataclass
class Chat:
    """One conversation; `omega` codes make a segment of a streamed answer, None gives complete answers."""

    session: "Session"
    system: str | None
    history: "list[Message] | None" = None
    omega: int | None = None
    independent: bool = False

    def ask(self, question: Question, out: Path | None) -> None:
        """Ask one question, print the answer and write its audio to `out`."""
        if self.omega is not None:
            self._stream(question, out, self.omega)
            return
        answer = self.session.answer(question.audio, question.text, self.system, image=question.image, video=question.video,
                                     history=self.history)
        sys.stdout.write(f"{NO_ANSWER if answer.state == 'noise' else answer.text}\n")
        if answer.state == "noise":
            return
        if out and answer.waveform is not None and not len(answer.waveform):
            sys.stdout.write(f"{silent(out)}\n")
        elif out:
            answer.save(out)
            sys.stdout.write(f"answer  {out}  ({answer.seconds:.1f} s)\n")

    def _stream(self, question: Question, out: Path | None, omega: int) -> None:
        speech = self.session.speech
        if out and (speech is None or speech.codes is None):
            raise RunError(f"{out} cannot be written: the answer has no audio, because the model has no speech branch.")
        events = self.session.stream(question.audio, question.text, self.system, image=question.image, video=question.video,
                                     history=self.history, omega=omega, independent=self.independent)
        show(events, out, speech.codes.sample_rate if speech and speech.codes else 0)


def _example(session: "Session", out: Path | None) -> Question:
    """Ask what the first evaluation row asks, its media in files beside `out`; print it."""
    datasets = list(session.plan.recipe.evaluate.data.values())
    if not datasets:
        raise RunError(f"Recipe {session.plan.recipe.name} names no data under `evaluate`, so it has no example to ask.")
    sample = session.plan.readers[datasets[0]].build()[0]
    parts = next(message.content for message in sample.messages if message.role == "user")
    if strange := [part.type for part in parts if part.type not in (*MEDIA, "text")]:
        raise RunError(f"Row {sample.id} of {datasets[0]} asks with a {strange[0]}, which chat cannot; ask with --audio or"
                       " --text.")
    media: dict[str, list[str]] = {kind: [] for kind in MEDIA}
    for part in parts:
        if part.type in media:
            number = f"-{len(media[part.type]) + 1}" if media[part.type] else ""
            stem = (out.stem + "-" if out else "") + "question" + number
            path = _medium_of(part, stem, (out, sample.id, session.plan.recipe.media))
            media[part.type].append(path)
            sys.stdout.write(f"question  {path}{f'  ({part.text})' if part.text else ''}\n")
    text = " ".join(part.text for part in parts if part.type == "text" and part.text)
    if text:
        sys.stdout.write(f"question  {text}\n")
    return Question(next(iter(media["audio"]), None), text or None, media["image"] or None, media["video"] or None)


def _medium_of(part: "ContentPart", stem: str, where: "tuple[Path | None, str, MediaLimits]") -> str:
    """Give the file of a part, written beside --out where the row has none."""
    from omnikit.data.batch.signals import load_waveform
    from omnikit.data.media.audio import save_audio
    from omnikit.data.media.image import save_image
    from omnikit.data.media.video import save_video

    out, row, limits = where
    path = (out.parent if out else Path()) / f"{stem}{EXAMPLES[part.type]}"
    if part.type == "audio":
        save_audio(path, load_waveform(part, 16000, row, limits), 16000)
    elif part.path is not None or part.pixels is None:
        return str(part.path)
    elif part.type == "image":
        save_image(path, part.pixels)
    else:
        save_video(path, part.pixels, part.frame_rate)
    return str(path)


def _loop(chat: Chat, out: Path | None) -> None:
    sys.stdout.write(HELP)
    for number, line in enumerate(_lines(), 1):
        try:
            chat.ask(_read(line), out.with_stem(f"{out.stem}-{number}") if out else None)
        except OmnikitError as error:  # one bad question does not end the conversation
            sys.stderr.write(f"omnikit: {error}\n")


def _read(line: str) -> Question:
    """Split a line into paths and text; a path may hold spaces where it is the whole line."""
    words = [line] if _medium(line) and Path(line).is_file() else line.split()
    found = {kind: [word for word in words if _medium(word) == kind] for kind in MEDIA}
    text = " ".join(word for word in words if not _medium(word))
    if len(found["audio"]) > 1:
        raise RunError(f"The line names {len(found['audio'])} audio files, but a question has one; ask one after the"
                       " other.")
    return Question(next(iter(found["audio"]), None), text or None, found["image"] or None, found["video"] or None)


def _medium(word: str) -> str | None:
    return next((kind for kind, endings in MEDIA.items() if word.lower().endswith(endings)), None)


def _lines() -> Iterator[str]:
    while True:
        try:
            line = input("> ").strip()
        except EOFError:
            return
        if line.lower() in ENDS:
            return
        if line.startswith("/") and not Path(line).exists() and line[1:].isalpha():
            sys.stdout.write(HELP if line.lower() == "/help" else f"{line} is not a command. {HELP}")
        elif line:
            yield line
