"""What a Realtime session asks of the conversation with the model; the conversation reports through the session's methods."""

from __future__ import annotations

import secrets
from typing import Protocol

from omnikit.inference.answer_usage import AnswerUsage
from omnikit.serving.protocol.client_events import CreateResponse
from omnikit.serving.protocol.items import Item
from omnikit.serving.protocol.session_config import SessionConfig


class LiveConversation(Protocol):
    """What a session needs of the conversation with the model; ids are those of the protocol's items."""

    def configure(self, config: SessionConfig) -> None:
        """Take over a changed configuration."""

    def push(self, audio: bytes) -> None:
        """Take the user's audio, in the input format."""

    def clear(self) -> None:
        """Drop the user's audio since the last turn."""

    def commit(self) -> None:
        """End the user's turn."""

    def insert(self, item: Item, previous: str | None) -> None:
        """Put a client's item behind another; raises OmnikitError where its media cannot be used."""

    def delete(self, item_id: str) -> None:
        """Take an item out."""

    def respond(self, asked: CreateResponse, config: SessionConfig) -> None:
        """Begin an answer; raises OmnikitError where nothing can be answered."""

    def cancel(self) -> AnswerUsage | None:
        """End the answer that is being made; gives what it took."""

    def truncate(self, item_id: str, milliseconds: int) -> str:
        """End an answer where its audio was stopped; gives its text up to there."""


def random_id(prefix: str) -> str:
    """Give an id that nobody can guess."""
    return f"{prefix}_{secrets.token_hex(12)}"
