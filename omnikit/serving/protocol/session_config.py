"""The configuration of a Realtime session: what the server gives first, and what `session.update` changes."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from omnikit.serving.protocol.audio_format import AudioFormat, read_format
from omnikit.serving.protocol.fields import Fields, Json, JsonObject, ProtocolError
from omnikit.serving.protocol.turn_detection import ServerVad, TurnDetection, read_turn_detection

WITHOUT_EFFECT = ("include", "parallel_tool_calls", "prompt", "reasoning", "tool_choice", "tools", "tracing", "truncation")
SESSION = ("type", "object", "id", "expires_at", "model", "output_modalities", "instructions", "audio", "max_output_tokens",
           "temperature", *WITHOUT_EFFECT)
MAX_INSTRUCTIONS = 32_768  # characters
MAX_TOKENS = 1_000_000


@dataclass(frozen=True)
class SessionConfig:
    """A session's configuration.

    Args:
        model: name of what is served.
        modality: of answers, "audio" (with a transcript) or "text".
        can_speak: whether the model has a speech branch.
        instructions: the system prompt; None leaves the template's own.
        max_output_tokens: of an answer; None is the model's own limit.
        transcription: what the client asks for; None gives no transcripts of the user's turns.
        others: fields that are stored and stated, but change nothing.
    """

    model: str
    modality: str = "audio"
    can_speak: bool = True
    instructions: str | None = None
    input_format: AudioFormat = field(default_factory=AudioFormat)
    output_format: AudioFormat = field(default_factory=AudioFormat)
    turn_detection: TurnDetection = field(default_factory=ServerVad)
    transcription: JsonObject | None = None
    noise_reduction: JsonObject | None = None
    voice: str = "default"
    speed: float = 1.0
    max_output_tokens: int | None = None
    others: JsonObject = field(default_factory=dict)

    def json(self) -> JsonObject:
        """Give it as `session.created` and `session.updated` state it."""
        detection: Json = self.turn_detection.json() if self.turn_detection else None
        given: JsonObject = {"format": self.input_format.json(), "transcription": self.transcription,
                             "noise_reduction": self.noise_reduction, "turn_detection": detection}
        audio: JsonObject = {"input": given, "output": {"format": self.output_format.json(), "voice": self.voice,
                                                        "speed": self.speed}}
        return {"type": "realtime", "model": self.model, "output_modalities": [self.modality],
                "instructions": self.instructions or "", "audio": audio,
                "max_output_tokens": self.max_output_tokens or "inf", **self.others}

    def updated(self, session: Fields) -> SessionConfig:
        """Give the configuration with what a client changes; fields that it leaves out stay.

        Raises:
            ProtocolError: a field is unknown, or has a value that is impossible or that the model does not have.
        """
        session.refuse_others(SESSION)
        if session.text("type", "realtime") != "realtime":
            raise ProtocolError(f"session.type is {session.text('type')!r}, but this server has sessions of type 'realtime'"
                                " only.", "invalid_session_type", session.name("type"))
        others = {name: session.values[name] for name in WITHOUT_EFFECT if session.has(name)}
        changed = replace(
            self,
            modality=read_modality(session, self.modality, can_speak=self.can_speak),
            instructions=_instructions(session, self.instructions),
            max_output_tokens=read_limit(session, self.max_output_tokens),
            others={**self.others, **others},
        )
        audio = session.optional_object("audio")
        return _with_audio(changed, audio) if audio else changed


def read_modality(fields: Fields, before: str, *, can_speak: bool) -> str:
    """Give the modality of answers; audio brings a transcript, so both at once is an error."""
    if not fields.has("output_modalities"):
        return before
    given = fields.list("output_modalities", 2)
    if given not in (["audio"], ["text"]):
        raise fields.error("output_modalities", "['audio'], which brings a transcript, or ['text']")
    if given == ["audio"] and not can_speak:
        raise fields.error("output_modalities", "['text'], because the model has no speech branch")
    return "audio" if given == ["audio"] else "text"


def read_limit(fields: Fields, before: int | None) -> int | None:
    """Give the most tokens of an answer; "inf" is None."""
    if not fields.has("max_output_tokens"):
        return before
    return None if fields.values["max_output_tokens"] == "inf" else fields.integer("max_output_tokens", 1, MAX_TOKENS)


def read_voice(fields: Fields, before: str) -> str:
    """Give the name of the voice; a voice may also be an object with an id."""
    if not fields.has("voice"):
        return before
    return fields.object("voice").text("id") if isinstance(fields.values["voice"], dict) else fields.text("voice")


def _instructions(fields: Fields, before: str | None) -> str | None:
    if not fields.has("instructions"):
        return before
    text = fields.text("instructions")
    if len(text) > MAX_INSTRUCTIONS:
        raise ProtocolError(f"{fields.name('instructions')} has {len(text)} characters, but at most {MAX_INSTRUCTIONS} are"
                            " allowed.", "string_above_max_length", fields.name("instructions"))
    return text or None


def _with_audio(config: SessionConfig, audio: Fields) -> SessionConfig:
    audio.refuse_others(("input", "output"))
    if given := audio.optional_object("input"):
        config = _with_input(config, given)
    if output := audio.optional_object("output"):
        output.refuse_others(("format", "voice", "speed"))
        wanted = output.optional_object("format")
        config = replace(config, output_format=read_format(wanted) if wanted else config.output_format,
                         voice=read_voice(output, config.voice), speed=output.number("speed", 0.25, 1.5, config.speed))
    return config


def _with_input(config: SessionConfig, given: Fields) -> SessionConfig:
    given.refuse_others(("format", "transcription", "noise_reduction", "turn_detection"))
    wanted, detection = given.optional_object("format"), config.turn_detection
    if "turn_detection" in given.values:  # null turns it off
        asked = given.optional_object("turn_detection")
        detection = read_turn_detection(asked, config.turn_detection) if asked else None
    return replace(config, input_format=read_format(wanted) if wanted else config.input_format, turn_detection=detection,
                   transcription=_stored(given, "transcription", config.transcription),
                   noise_reduction=_stored(given, "noise_reduction", config.noise_reduction))


def _stored(fields: Fields, name: str, before: JsonObject | None) -> JsonObject | None:
    if name not in fields.values:
        return before
    given = fields.optional_object(name)
    return dict(given.values) if given else None
