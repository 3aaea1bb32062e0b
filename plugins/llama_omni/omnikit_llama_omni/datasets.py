"""Readers `llama_omni_json` and `spoken_conversations`: the formats in which data for LLaMA-Omni lie around. Loads nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from omnikit_llama_omni.reader import ConversationsReader, JsonReader

PROVIDES = ("text", "audio", "image", "video", "transcript", "answer", "speech", "codes")
COSYVOICE = 6561  # tokens of CosyVoice 2's codec, which the published conversations hold as units


@dataclass(frozen=True)
class LlamaOmniJson:
    """LLaMA-Omni's own JSON: {"id", "speech": audio file, "conversations": [{"from": "human" or "gpt", "value"}]}.

    `<speech>` in a question stands for the audio; the line break behind it belongs to it, and a template puts one back with
    `behind_audio`. Units are taken where they are: `tgt_units` of an answer's turn, or `prediction_units` of the row or of a
    second file. Runs of one unit are merged.

    Args:
        path: a JSON list, or JSONL.
        root: folder that relative paths of waveforms start from; None: the folder of `path`.
        units: JSONL of {"question_id", "prediction_units"} that brings the units of the answers by the rows' ids.
        cardinality: different units of the codec; a larger one is refused.
        provides: what every row holds (see omnikit.contracts.configs.ReaderConfig).
        seconds: no audio in a question is longer than this; None if unknown.
    """

    path: str
    root: str | None = None
    units: str | None = None
    cardinality: int = 1000
    provides: tuple[str, ...] = ("audio", "text", "answer")
    seconds: float | None = None

    def __post_init__(self) -> None:
        _check(self.cardinality, self.provides)

    def build(self) -> JsonReader:
        """Read the file; raises DataError if it is missing, empty or no JSON."""
        from omnikit_llama_omni.reader import JsonReader

        return JsonReader(self)


@dataclass(frozen=True)
class SpokenConversations:
    """The published conversations of many turns: {"id", "conversation": [{"from", "speech": audio file, "text", "unit"}]}.

    Args:
        path: a JSON list, or JSONL.
        root: folder that relative paths of waveforms start from; None: the folder of `path`.
        units: False lets the run make the codes of the answers' audio; True takes the rows' own, such as "<12><7>". Those of
            ICTNLP/Multiturn-Speech-Conversations are tokens of CosyVoice 2 and fit no codec of 1000 units.
        cardinality: with `units`, different units of the codec; a larger one is refused.
        provides: what every row holds (see omnikit.contracts.configs.ReaderConfig).
        seconds: no audio in a question is longer than this; None if unknown.
    """

    path: str
    root: str | None = None
    units: bool = False
    cardinality: int = 1000
    provides: tuple[str, ...] = ("audio", "transcript", "answer", "speech")
    seconds: float | None = None

    def __post_init__(self) -> None:
        _check(self.cardinality, self.provides)

    def build(self) -> ConversationsReader:
        """Read the file; raises DataError if it is missing, empty or no JSON."""
        from omnikit_llama_omni.reader import ConversationsReader

        return ConversationsReader(self)


def _check(cardinality: int, provides: tuple[str, ...]) -> None:
    if cardinality < 1:
        raise ValueError(f"cardinality is {cardinality}, but must be at least 1")
    for word in provides:
        if word not in PROVIDES:
            raise ValueError(f"provides holds {word!r}, but must be among {', '.join(PROVIDES)}")
