"""A request for a chat completion, parsed: OpenAI's fields to a sample and the options of its answer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from omnikit.contracts.types import ContentPart, Message, Sample
from omnikit.inference.engine import AnswerOptions
from omnikit.serving.media import MediaReader
from omnikit.serving.protocol.fields import Fields, Json, ProtocolError

FIELDS = ("model", "messages", "modalities", "audio", "stream", "stream_options", "n", "stop", "temperature", "top_p",
          "max_tokens", "max_completion_tokens", "seed", "logprobs", "top_logprobs",
          "metadata", "store", "user", "service_tier", "safety_identifier", "prompt_cache_key", "verbosity")
WITHOUT_EFFECT: dict[str, tuple[Json, ...]] = {  # fields that the models do not have → values that change nothing
    "frequency_penalty": (0,), "presence_penalty": (0,), "logit_bias": ({},), "tools": ([],), "tool_choice": ("none", "auto"),
    "parallel_tool_calls": (True, False), "response_format": ({"type": "text"},), "functions": ([],),
    "function_call": ("none",),
    "reasoning_effort": ("none",), "prediction": (), "web_search_options": (),
}
ROLES = ("system", "developer", "user", "assistant")
FORMATS = ("wav", "pcm16", "flac", "mp3")
MAX_MESSAGES, MAX_PARTS, MAX_STOP, MAX_TEXT = 1024, 64, 4, 1_000_000

AudioFile = Literal["wav", "pcm16", "flac", "mp3"]


@dataclass(frozen=True)
class ChatRequest:
    """What is asked, and how the answer is given.

    Args:
        audio: format of the audio; None gives text only.
        choices: answers to the same question.
    """

    sample: Sample
    options: AnswerOptions
    audio: str | None = None
    stream: bool = False
    include_usage: bool = False
    choices: int = 1


def read_chat(fields: Fields, media: MediaReader, *, can_speak: bool) -> ChatRequest:
    """Parse a request.

    Raises:
        ProtocolError: a field is missing, unknown, or has a value that is impossible or that the model does not have.
    """
    fields.refuse_others((*FIELDS, *WITHOUT_EFFECT))
    for name, harmless in WITHOUT_EFFECT.items():
        if fields.has(name) and fields.values[name] not in harmless:
            raise ProtocolError(f"{name} is not supported by this model; leave it out.", "unsupported_parameter", name)
    fields.optional_text("model")
    stream = fields.flag("stream", False)
    options = fields.optional_object("stream_options")
    audio = _audio_format(fields, stream=stream, can_speak=can_speak)
    return ChatRequest(
        Sample("request", tuple(_messages(fields, media))), _options(fields, speak=audio is not None), audio, stream,
        bool(options and options.flag("include_usage", False)), fields.integer("n", 1, media.limits.choices, 1))


def _options(fields: Fields, *, speak: bool) -> AnswerOptions:
    limits = [fields.optional_integer(name, 1, 1_000_000) for name in ("max_completion_tokens", "max_tokens")]
    wanted, most = fields.flag("logprobs", False), fields.optional_integer("top_logprobs", 0, 20)
    if most is not None and not wanted:
        raise ProtocolError("top_logprobs is given, but logprobs is not true; set it.", "invalid_value", "top_logprobs")
    top_p = fields.optional_number("top_p", 0.0, 1.0)
    return AnswerOptions(
        max_new_tokens=limits[0] or limits[1], temperature=fields.optional_number("temperature", 0.0, 2.0),
        top_p=None if top_p is None else max(top_p, 1e-6),
        stop=_stop(fields), seed=fields.optional_integer("seed", -2**63, 2**63 - 1), speak=speak,
        logprobs=(most or 0) if wanted else None)


def _stop(fields: Fields) -> tuple[str, ...]:
    given = fields.values.get("stop")
    if given is None:
        return ()
    texts = [given] if isinstance(given, str) else fields.list("stop", MAX_STOP)
    found = [text for text in texts if isinstance(text, str) and text]
    if len(found) < len(texts):
        raise fields.error("stop", f"a text or a list of at most {MAX_STOP} texts, none of them empty")
    return tuple(found)


def _audio_format(fields: Fields, *, stream: bool, can_speak: bool) -> str | None:
    """Give the format of the audio that is asked for; None for text alone."""
    modalities = fields.list("modalities", 2) if fields.has("modalities") else ["text"]
    if "text" not in modalities or set(map(str, modalities)) - {"text", "audio"}:
        raise fields.error("modalities", '["text"] or ["text", "audio"]')
    if "audio" not in modalities:
        return None
    if not can_speak:
        raise ProtocolError("modalities has 'audio', but the model has no speech branch; ask for ['text'].",
                            "unsupported_value", "modalities")
    given = fields.object("audio")
    given.refuse_others(("format", "voice"))
    name = given.choice("format", FORMATS, "pcm16" if stream else "wav")
    if stream and name != "pcm16":
        raise given.error("format", "'pcm16' where the answer is streamed")
    return name


def _messages(fields: Fields, media: MediaReader) -> list[Message]:
    given = fields.objects("messages", MAX_MESSAGES)
    messages = [_message(one, media) for one in given]
    if not messages or messages[-1].role != "user":
        raise fields.error("messages", "a list whose last message is a user's",
                           found=f"a list that ends with {messages[-1].role!r}" if messages else "an empty list")
    systems = [number for number, message in enumerate(messages) if message.role == "system"]
    if systems not in ([], [0]):
        raise fields.error("messages", "a list with at most one system message, which is the first",
                           found=f"a list whose message {systems[-1]} is a system message")
    return messages


def _message(fields: Fields, media: MediaReader) -> Message:
    fields.refuse_others(("role", "content", "name", "refusal", "audio", "tool_calls", "function_call", "annotations", "state",
                          "reasoning_content"))
    role = fields.choice("role", ROLES)
    role = "system" if role == "developer" else role
    if role == "assistant" and not fields.has("content") and (audio := fields.optional_object("audio")):
        return Message("assistant", (ContentPart("text", text=audio.text("transcript")),))
    return Message(role, tuple(_content(fields, role, media)))


def _content(fields: Fields, role: str, media: MediaReader) -> list[ContentPart]:
    if isinstance(fields.values.get("content"), str):
        return [_text(fields, "content")]
    parts = fields.objects("content", MAX_PARTS)
    if not parts:
        raise fields.error("content", "a text or a list of at least one part", found="an empty list")
    return [_part(part, media) if role == "user" else _text_part(part) for part in parts]


def _text_part(fields: Fields) -> ContentPart:
    fields.choice("type", ("text",))
    return _text(fields, "text")


def _text(fields: Fields, name: str) -> ContentPart:
    text = fields.text(name)
    if len(text) > MAX_TEXT:
        raise ProtocolError(f"{fields.name(name)} has {len(text)} characters, but at most {MAX_TEXT} are allowed.",
                            "string_above_max_length", fields.name(name))
    return ContentPart("text", text=text)


def _part(fields: Fields, media: MediaReader) -> ContentPart:
    """Give a part of a user's message: OpenAI's kinds, audio and videos as a data URL, and videos as a list of images."""
    urls = {"image_url": media.image, "audio_url": media.audio_url, "video_url": media.video}
    kind = fields.choice("type", ("text", "input_audio", *urls, "video"))
    if kind == "text":
        return _text(fields, "text")
    if kind == "input_audio":
        inner = fields.object("input_audio")
        return media.audio(inner.text("data"), inner.name("data"))
    if kind == "video":
        frames = fields.list("video", 64)
        return media.frames([url if isinstance(url, str) else "" for url in frames], fields.name("video"))
    inner = fields.object(kind)
    return urls[kind](inner.text("url"), inner.name("url"))
