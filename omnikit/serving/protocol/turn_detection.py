"""How a Realtime session finds the end of a turn, as the client sets it."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace

from omnikit.serving.protocol.fields import Fields, JsonObject

SERVER_VAD = ("type", "threshold", "prefix_padding_ms", "silence_duration_ms", "create_response", "interrupt_response",
              "idle_timeout_ms")
SEMANTIC_VAD = ("type", "eagerness", "create_response", "interrupt_response")
EAGERNESS_MS = {"low": 8000, "medium": 4000, "auto": 4000, "high": 2000}  # longest wait; openai 3.57.0 types/realtime
MINUTE_MS = 60_000


@dataclass(frozen=True)
class ServerVad:
    """The end of a turn is a silence. Defaults: openai 3.57.0 types/realtime."""

    threshold: float = 0.5
    prefix_padding_ms: int = 300
    silence_duration_ms: int = 500
    create_response: bool = True
    interrupt_response: bool = True
    idle_timeout_ms: int | None = None

    def json(self) -> JsonObject:
        """Give it as a session states it."""
        return {"type": "server_vad", **asdict(self)}


@dataclass(frozen=True)
class SemanticVad:
    """The end of a turn is the model's decision, or the longest wait of `eagerness`."""

    eagerness: str = "auto"
    create_response: bool = True
    interrupt_response: bool = True

    def json(self) -> JsonObject:
        """Give it as a session states it."""
        return {"type": "semantic_vad", **asdict(self)}


TurnDetection = ServerVad | SemanticVad | None  # None: the client commits


def read_turn_detection(fields: Fields, before: TurnDetection) -> TurnDetection:
    """Give what a client sets, fields that it leaves out as they were."""
    if fields.choice("type", ("server_vad", "semantic_vad"), "server_vad") == "semantic_vad":
        return _semantic(fields, before if isinstance(before, SemanticVad) else SemanticVad())
    return _silence(fields, before if isinstance(before, ServerVad) else ServerVad())


def _silence(fields: Fields, before: ServerVad) -> ServerVad:
    fields.refuse_others(SERVER_VAD)
    return replace(
        before,
        threshold=fields.number("threshold", 0.0, 1.0, before.threshold),
        prefix_padding_ms=fields.integer("prefix_padding_ms", 0, 5000, before.prefix_padding_ms),
        silence_duration_ms=fields.integer("silence_duration_ms", 50, 10_000, before.silence_duration_ms),
        create_response=fields.flag("create_response", before.create_response),
        interrupt_response=fields.flag("interrupt_response", before.interrupt_response),
        idle_timeout_ms=fields.optional_integer("idle_timeout_ms", 1000, 10 * MINUTE_MS),
    )


def _semantic(fields: Fields, before: SemanticVad) -> SemanticVad:
    fields.refuse_others(SEMANTIC_VAD)
    return SemanticVad(
        fields.choice("eagerness", EAGERNESS_MS, before.eagerness),
        fields.flag("create_response", before.create_response),
        fields.flag("interrupt_response", before.interrupt_response),
    )
