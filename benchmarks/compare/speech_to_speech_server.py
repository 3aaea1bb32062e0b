"""HF speech-to-speech 1.1 with stubs for its models: a transcript, a text and a second of audio that take no time.

Runs in an environment of its own, which has `speech-to-speech==1.1.0` and silero-vad; see docs/explanation/performance.md.
    python benchmarks/compare/speech_to_speech_server.py PORT
"""

import sys
from collections.abc import Callable, Iterator, Mapping

import nltk
import numpy as np
import silero_vad
import torch

nltk.data.find = lambda *_, **__: True  # the stubs cut no sentences; it would be downloaded
torch.hub.load = lambda *_, **__: (silero_vad.load_silero_vad(), None)  # the same network, from the package

from speech_to_speech import backend_registry as registry  # noqa: E402  # behind the two replacements above, which its import needs
from speech_to_speech.baseHandler import BaseHandler  # noqa: E402  # behind the two replacements above, which its import needs
from speech_to_speech.pipeline.messages import (  # noqa: E402  # behind the two replacements above, which its import needs
    AUDIO_RESPONSE_DONE,
    EndOfResponse,
    GenerateResponseRequest,
    LLMResponseChunk,
    Transcription,
    VADAudio,
)
from speech_to_speech.s2s_pipeline import run_pipeline_command  # noqa: E402  # behind the two replacements above, which its import needs

RATE, BLOCK, TEXT = 16000, 512, "This is the answer."


class StubASR(BaseHandler):
    """Gives a transcript of every turn."""

    def process(self, turn: VADAudio) -> Iterator[Transcription]:
        """Give it at once."""
        if turn.mode != "progressive":
            yield Transcription(text="a question", turn_id=turn.turn_id, turn_revision=turn.turn_revision)


class StubLLM(BaseHandler):
    """Answers every question with one sentence."""

    def process(self, asked: GenerateResponseRequest) -> Iterator[LLMResponseChunk | EndOfResponse]:
        """Give it at once."""
        turn = {"turn_id": asked.turn_id, "turn_revision": asked.turn_revision, "response_key": asked.response_key,
                "cancel_generation": self.cancel_scope.generation}
        yield LLMResponseChunk(text=TEXT, runtime_config=asked.runtime_config, response=asked.response, **turn)
        yield EndOfResponse(**turn)


class StubTTS(BaseHandler):
    """Gives a second of audio for every text, in blocks as its own handlers do."""

    def process(self, text: object) -> Iterator[object]:
        """Give it at once."""
        if isinstance(text, EndOfResponse):
            yield AUDIO_RESPONSE_DONE
            return
        for _ in range(RATE // BLOCK):
            yield np.full(BLOCK, 1000, np.int16)


def factory(handler: type[BaseHandler]) -> Callable[[registry.HandlerContext, Mapping[str, object]], BaseHandler]:
    """Give what builds a stub."""
    def create(context: registry.HandlerContext, _: Mapping[str, object]) -> BaseHandler:
        made = handler(context.stop_event, queue_in=context.queue_in, queue_out=context.queue_out)
        made.cancel_scope, made.speculative_turns = context.cancel_scope, context.speculative_turns
        return made

    return create


def main(port: str) -> None:
    """Serve until the process ends."""
    stubs = (("stt", "sense-voice", registry.STT_BACKENDS, StubASR), ("llm", "transformers", registry.LLM_BACKENDS, StubLLM),
             ("tts", "kitten", registry.TTS_BACKENDS, StubTTS))  # in place of models of these names
    for kind, name, backends, handler in stubs:
        backends[name] = registry.BackendSpec(name, kind, registry.EmptyBackendArguments, factory(handler))
    run_pipeline_command("serve", ["--stt", "sense-voice", "--llm_backend", "transformers", "--tts", "kitten",
                                   "--no_smart_turn", "--host", "127.0.0.1", "--port", port])


if __name__ == "__main__":
    main(sys.argv[1])
