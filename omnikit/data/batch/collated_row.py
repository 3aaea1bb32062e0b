"""One sample as a collator makes it, before rows are padded to a batch."""

from collections import defaultdict
from dataclasses import dataclass, field

from omnikit.contracts.media import Medium
from omnikit.data.batch.signals import SignalArray
from omnikit.data.text.tokenise import TokenSpan


@dataclass
class CollatedRow:
    """One sample before padding; `answers` are positions of supervised tokens, `slots` positions of embeddings.

    `signals`, `counts` and `transcripts` belong together, branch by branch: one each for a recording, a tile or a frame.
    Where a projector joins the signals of a medium, `counts` are those of the media in `joined`.
    `media` are, for each part, the branches that read it with their number of signals; `spans` what the positions were made
    of, in order. Only omnikit.data.inspect looks at them. `texts` are those of each medium's message, by the id of its part.
    """

    id: str
    tokens: list[int] = field(default_factory=list)
    answers: list[int] = field(default_factory=list)
    slots: dict[str, list[int]] = field(default_factory=lambda: defaultdict(list))
    counts: dict[str, list[int]] = field(default_factory=lambda: defaultdict(list))
    starts: dict[str, list[int]] = field(default_factory=lambda: defaultdict(list))
    instructions: dict[str, list[list[int]]] = field(default_factory=lambda: defaultdict(list))
    signals: dict[str, list[SignalArray]] = field(default_factory=lambda: defaultdict(list))
    joined: dict[str, list[Medium]] = field(default_factory=lambda: defaultdict(list))
    transcripts: dict[str, list[str | None]] = field(default_factory=lambda: defaultdict(list))
    media: list[tuple[tuple[str, int], ...]] = field(default_factory=list)
    spans: list[TokenSpan] = field(default_factory=list)
    texts: dict[int, str] = field(default_factory=dict)
