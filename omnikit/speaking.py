"""Roles around speech that are no part of a model: how words are spoken, and who speaks them for data."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Callable

    from omnikit.protocols import TTS


@runtime_checkable
class NormaliserConfig(Protocol):
    """Turns text as it is written into the text that is spoken, for heads that read words; holds no weights."""

    def build(self) -> Callable[[str], str]:
        """Give the function; of text with nothing to speak it gives only space."""


@runtime_checkable
class TTSConfig(Protocol):
    """Text to speech."""

    def build(self) -> TTS: ...
