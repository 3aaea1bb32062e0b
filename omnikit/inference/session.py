"""Inference with one model. Three lines:

    session = omnikit.load("llama_omni/tiny")
    answer = session.answer(audio="question.wav")
    print(answer.text); answer.save("answer.wav")
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from omnikit.contracts.codes import Code
from omnikit.contracts.optional import backbone_options
from omnikit.contracts.types import Batch, ContentPart, Message, Sample
from omnikit.data.batch.collate import Collator, to_device
from omnikit.data.batch.tokenizers import transcript_tokenizer
from omnikit.data.text.tokenizer import Tokenizer
from omnikit.data.text.tokenizer import load as load_tokenizer
from omnikit.errors import DataError, PlanError
from omnikit.inference.answer import Answer, Event
from omnikit.inference.answer_events import AnswerEvents
from omnikit.inference.answer_states import NOISE, AnswerDecoder, answer_states
from omnikit.inference.generate import Generated, Sampling, decode_codes, decoding_steps, generate
from omnikit.inference.question import Audio, Images, question
from omnikit.inference.sentence_speech import SentenceSpeech, sentence_codes
from omnikit.inference.shared_head import SharedHead
from omnikit.inference.speech_stream import SpeechStream
from omnikit.inference.turn_detection import detected_states, turn_probabilities
from omnikit.model import OmniModel
from omnikit.plan.branches import BACKBONE_TAPS
from omnikit.plan.plan import OutputBranch, Plan, make
from omnikit.recipe.recipe import Recipe
from omnikit.store.lineage import lineage
from omnikit.store.load import as_dtype, build_model, inference_device
from omnikit.store.quantise import LoadIn, check_torchao, quantise_layers
from omnikit.store.runs import find, load_plan
from omnikit.taps import Taps

Device = str | torch.device | None  # None takes a GPU if there is one


def build(recipe: Recipe | Plan, *, device: Device = None, dtype: str | None = None) -> Session:
    """Give a session of what omnikit.compose gives or of its plan: weights from the checkpoints that it names, else random.

    Args:
        device: "cpu", "cuda", "cuda:1"; None takes a GPU if there is one.
        dtype: of the backbone's weights, for example "bfloat16"; None leaves the recipe's.

    Raises:
        OmnikitError: the recipe does not fit together, a checkpoint cannot be read, or there is no such device.
    """
    plan = make(recipe) if isinstance(recipe, Recipe) else recipe
    return Session(build_model(plan, device=inference_device(device), dtype=dtype), device=device)


def load(run: str | Path, stage: str | None = None, *, device: Device = None, dtype: str | None = None,
         load_in: LoadIn | None = None) -> Session:
    """Give a session with the weights of a run: those that its last stage, or `stage`, descends from.

    Args:
        run: the run's folder, a link to it, or a recipe's name for its latest run.
        stage: gives the weights as they were after this stage; parts that it has none of are fresh.
        load_in: holds the matrices of the backbone's layers in 8 or 4 bits, by torchao.

    Raises RunError where there is no such run, a stage is not finished, a file has changed, or torchao is missing.
    """
    folder = find(run)
    if load_in:
        check_torchao(f"load_in is {load_in}")
    session = restore(load_plan(folder), folder, stage, device=device, dtype=dtype)
    if load_in:
        session.check_answers()
        quantise_layers(session.model.get_submodule("backbone"), load_in)
    return session


def restore(plan: Plan, folder: Path, stage: str | None = None, *, device: Device = None, dtype: str | None = None) -> Session:
    """Give a session of a plan with the weights of a run folder; see load."""
    place = inference_device(device)
    return Session(build_model(plan, folder, lineage(plan, folder, stage), device=place, dtype=dtype), device=place)


@dataclass(frozen=True)
class Prompt:
    """The prompts of questions, on the host, the ids that end an answer, and how many tokens it has at most."""

    batch: Batch
    tokenizer: Tokenizer
    ends: tuple[int, ...]
    limit: int


class Session:
    """Answers questions with one model; holds no conversation itself.

    Args:
        model: moved to the device, and set to eval mode.
        device: as for build.
        dtype: as for build.
    """

    def __init__(self, model: OmniModel, *, device: Device = None, dtype: str | None = None) -> None:
        self.plan, self.device = model.plan, inference_device(device)
        self.run: Path | None = None  # where its weights come from, and the stage that was trained last
        self.stage: str | None = None
        if dtype is not None and self.plan.backbone is not None:
            model.get_submodule("backbone").to(as_dtype(dtype))
        self.model = model.to(self.device).eval()
        self.speech = next((o for o in self.plan.outputs.values() if o.codec and o.codec.decodes), None)
        self._ask = Collator(self.plan, [n for n, o in self.plan.outputs.items() if o.head.tap in BACKBONE_TAPS],
                             prompt_only=True)
        self._generator = torch.Generator(self.device).manual_seed(self.plan.recipe.seed)

    def __repr__(self) -> str:
        """Give recipe, run, stage, device and number of parameters in one line."""
        parameters = sum(parameter.numel() for parameter in self.model.parameters())
        return (f"Session(recipe={self.plan.recipe.name!r}, run={str(self.run) if self.run else None!r}, stage={self.stage!r},"
                f" device={str(self.device)!r}, parameters={parameters:,})")

    def _repr_html_(self) -> str:
        """Give that line and the wiring diagram, for notebooks."""
        return f"<pre>{escape(repr(self))}</pre>{self.plan._repr_html_()}"

    def answer(self, audio: Audio | None = None, text: str | None = None, system: str | None = None, *,
               image: Images | None = None, video: Images | None = None, history: list[Message] | None = None) -> Answer:
        """Answer one question (see `question`); with `history`, earlier turns are part of the prompt and this one is appended
        to them."""
        asked = question(audio, text, system if not history else None, image=image, video=video, history=history or ())
        answer = self.answers([asked])[0]
        _append_turn(history, asked, answer.text, answer.state)
        return answer

    def answers(self, samples: Sequence[Sample], *, speak: bool = True, greedy: bool = False) -> list[Answer]:
        """Answer a batch of questions; what follows a sample's last question is not used.

        Args:
            speak: False gives text only.
            greedy: True always takes the most probable token, whatever temperature the recipe has.

        Raises:
            DataError: a row's media cannot be used, or it is longer than the context.
            PlanError: the model has no backbone, so it can only transcribe.
        """
        if not samples:
            return []
        batch, tokenizer, sampling = self._prepare(samples, greedy=greedy)
        generated = generate(self.model, batch, sampling)
        states = answer_states(self.plan.template, tokenizer)
        texts = [(state, "" if state == NOISE else text) if state else states.split(row) for row, state, text in zip(
            generated.tokens, detected_states(self.model, batch, samples), map(tokenizer.text, generated.tokens), strict=True)]
        if not speak or self.speech is None:
            return [Answer(text, state=state) for state, text in texts]
        return [Answer(text, state=state) if state == NOISE else Answer(text, *audio, state=state)
                for (state, text), audio in zip(texts, self._synthesise(self.speech, generated, tokenizer), strict=True)]

    def turn_probabilities(self, samples: Sequence[Sample]) -> list[list[dict[str, float]]]:
        """Give for each sample and each audio of its questions the probabilities of "audio" (meant for the model) and "noise".

        Raises:
            DataError: as `answers`.
            PlanError: there is no turn-detection head (`turn/head: state`).
        """
        return turn_probabilities(self.model, to_device(self._ask(samples), self.device))

    def stream(self, audio: Audio | None = None, text: str | None = None, system: str | None = None, *,
               image: Images | None = None, video: Images | None = None, history: list[Message] | None = None,
               omega: int = 10, independent: bool = False) -> Iterator[Event]:
        """Answer one question piece by piece: text as it is generated, audio in segments.

        Joined, the text and the codes are those of `answer`, and the audio too unless segments are `independent`.

        Args:
            history: as in `answer`; this turn is appended when the last event has been given.
            omega: codes that make a segment, at least; all that are pending go.
            independent: True makes each segment a waveform of its own, as the original does: sooner, with seams.

        Raises:
            ConfigError, DataError, PlanError: before the first event; omega is impossible, the question cannot be used, or
                a part of the model cannot stream.
        """
        start = time.perf_counter()
        asked = question(audio, text, system if not history else None, image=image, video=video, history=history or ())
        prepared = self._prepare([asked], greedy=False)
        speech = self.speech_stream(prepared[1], omega, independent=independent)
        return self._events(start, asked, prepared, speech, history)

    def _events(self, start: float, asked: Sample, prepared: tuple[Batch, Tokenizer, Sampling],
                speech: SpeechStream | SentenceSpeech | None,
                history: list[Message] | None) -> Iterator[Event]:
        batch, tokenizer, sampling = prepared
        state = detected_states(self.model, batch, [asked])[0]
        if state:
            yield Event(time.perf_counter() - start, state=state)
        if state == NOISE:
            return
        decoder = AnswerDecoder(tokenizer, answer_states(self.plan.template, tokenizer))
        events = AnswerEvents(decoder, speech, start, self.sample_rate)
        for step in decoding_steps(self.model, batch, sampling):
            yield from events.push(step)
        yield from events.finish()
        _append_turn(history, asked, events.text, decoder.state or state)

    def speech_stream(self, tokenizer: Tokenizer, omega: int, *, independent: bool,
                      shared: SharedHead | None = None) -> SpeechStream | SentenceSpeech | None:
        """Give what makes the audio of one answer; None where there is no speech branch. Raises PlanError as `stream`."""
        if self.speech is None:
            return None
        if self.speech.reads_text:
            return SentenceSpeech(self.model, self.speech, tokenizer, omega, independent=independent)
        return SpeechStream(self.model, self.speech, omega, independent=independent, shared=shared)

    @property
    def sample_rate(self) -> int:
        """Sample rate of its speech; 16000 where it has none."""
        return self.speech.codes.sample_rate if self.speech and self.speech.codes else 16000

    def check_answers(self) -> None:
        """Refuse a model without a backbone; raises PlanError."""
        if self.plan.backbone is None or self.plan.template is None or self.plan.tokenizer is None:
            raise PlanError(f"{self.plan.recipe.name} has no backbone, so it cannot answer; it only transcribes.")

    def prompt(self, samples: Sequence[Sample], max_new_tokens: int | None = None) -> Prompt:
        """Give the prompts of questions, on the host, with what ends their answers; raises as `answers`."""
        self.check_answers()
        assert self.plan.backbone and self.plan.template and self.plan.tokenizer, "checked above"
        tokenizer, batch = load_tokenizer(self.plan.tokenizer), self._ask(samples)
        limit = min(max_new_tokens or self.plan.recipe.generate.max_new_tokens,
                    self.plan.backbone.context - batch.tokens.shape[1])
        ends = (tokenizer.ids(self.plan.template.end)[0], *backbone_options(self.plan.backbone).ends)
        return Prompt(batch, tokenizer, ends, max(1, limit))

    def _prepare(self, samples: Sequence[Sample], *, greedy: bool) -> tuple[Batch, Tokenizer, Sampling]:
        """Give the prompts of questions, the tokenizer and how tokens are chosen."""
        prompt = self.prompt(samples)
        settings = self.plan.recipe.generate
        temperature = 0.0 if greedy else settings.temperature
        states = answer_states(self.plan.template, prompt.tokenizer)
        sampling = Sampling(prompt.ends, prompt.limit, temperature, self._generator, states.stop if states.texts else None,
                            top_p=settings.top_p, top_k=settings.top_k)
        return to_device(prompt.batch, self.device), prompt.tokenizer, sampling

    @torch.no_grad()
    def transcribe(self, waveforms: Sequence[NDArray[np.float32]], sample_rate: int) -> list[str]:
        """Transcribe waveforms with the branch whose head gives transcripts; "" for an empty waveform.

        Raises:
            PlanError: no head gives transcripts.
        """
        output = next((o for o in self.plan.outputs.values() if o.head.target == "transcript"), None)
        tokenizer = transcript_tokenizer(self.plan, output.name) if output else None
        if output is None or tokenizer is None:
            raise PlanError(f"{self.plan.recipe.name} has no head that gives transcripts, so it cannot recognise speech.")
        branch, texts = output.head.tap.partition(".")[0], [""] * len(waveforms)
        usable = [index for index, one in enumerate(waveforms) if self._long_enough(branch, len(one), sample_rate)]
        if usable:
            parts = {index: ContentPart("audio", audio=waveforms[index], sample_rate=sample_rate) for index in usable}
            samples = [Sample(str(index), (Message("user", (part,)),)) for index, part in parts.items()]
            batch = to_device(Collator(self.plan, (output.name,), prompt_only=True)(samples), self.device)
            ids = self.model.head(output.name).decode(Taps(self.model, batch).features(output))
            for index, row in zip(usable, ids, strict=True):
                texts[index] = tokenizer.text(row)
        return texts

    def _long_enough(self, branch: str, samples: int, sample_rate: int) -> bool:
        """Say whether a waveform is long enough to give a frame."""
        encoder = self.plan.inputs[branch].encoder
        try:
            return encoder.length(int(samples * (encoder.input.rate or 1) / sample_rate)) > 0
        except (ValueError, DataError):
            return False

    @torch.no_grad()
    def _synthesise(self, output: OutputBranch, generated: Generated,
               tokenizer: Tokenizer) -> list[tuple[NDArray[np.float32], int, tuple[Code, ...]]]:
        assert output.codes, "a branch with speech has a codec"
        audios = []
        rows = sentence_codes(self.model, output, generated, tokenizer, answer_states(self.plan.template, tokenizer)) if (
            output.reads_text) else decode_codes(self.model, output, generated)
        for row in rows:
            waveform = np.zeros(0, dtype=np.float32)
            if row:
                decoded = self.model.codec(output.name).decode(torch.tensor(row, device=self.device))
                waveform = decoded.float().cpu().numpy()
            audios.append((waveform, output.codes.sample_rate, tuple(row)))
        return audios


def _append_turn(history: list[Message] | None, asked: Sample, text: str, state: str | None) -> None:
    """Append a turn to a conversation; noise is not part of it."""
    if history is not None and state != NOISE:
        history[:] = [*asked.messages, Message("assistant", (ContentPart("text", text=text),), state=state)]
