"""Voices in files: the tokens by which a codec speaks in somebody's voice, taken from a sound. Knows no codec.

A voice file is JSON: {"voice": [tokens], "weights": what they were read by, "sample_rate": its rate, "source": the sound}.
Tokens mean another voice to other weights, so the file says whose they are.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, cast, runtime_checkable

import torch
from torch import Tensor, nn

from omnikit.contracts.protocols import Codec
from omnikit.data.media.audio import load_audio
from omnikit.errors import RunError
from omnikit.plan.plan import OutputBranch
from omnikit.store.files import disk_errors
from omnikit.store.hashes import distinct, tensors_hash
from omnikit.store.tensors import read_json

SET = "voice"  # the buffer of a codec that says which voice it speaks with, which is not what tokens are read by


@runtime_checkable
class VoicedCodec(Codec, Protocol):
    """A codec whose codes say what is spoken, and some tokens, the same for all of a sound, in whose voice.

    - voice: [G] int64, the tokens that `decode` speaks with.
    """

    voice: Tensor

    def listen(self, wave: Tensor) -> Tensor:
        """Wave [N] to the tokens [G] of its voice; raises DataError where it is too short."""


@dataclass(frozen=True)
class Voice:
    """A voice that was taken from a sound, and what it was taken by."""

    tokens: tuple[int, ...]
    weights: str
    sample_rate: int
    source: str

    def save(self, path: Path) -> None:
        """Write it as JSON, whole or not at all; raises RunError where the disk does not let us."""
        partial = path.with_name(f".{path.name}.partial")
        held = {"voice": list(self.tokens), "weights": self.weights, "sample_rate": self.sample_rate, "source": self.source}
        with disk_errors(path):
            partial.write_text(json.dumps(held) + "\n", encoding="utf-8")
            partial.replace(path)


def read(path: Path) -> Voice:
    """Give the voice of a file; raises RunError if it is missing or holds something else."""
    found = read_json(path)
    tokens = found.get("voice")
    if not isinstance(tokens, list) or not tokens or not all(type(token) is int for token in tokens):
        raise RunError(f"{path} holds no voice: it must have a list of tokens under `voice`; make it with omnikit voice"
                       " extract.")
    rate = found.get("sample_rate")
    return Voice(tuple(tokens), str(found.get("weights")), rate if isinstance(rate, int) else 0, str(found.get("source")))


@torch.no_grad()
def extract(output: OutputBranch, codec: Codec, sound: Path) -> Voice:
    """Give the voice that a branch's codec hears in a sound file.

    Raises:
        DataError: the sound cannot be read, or is too short.
        RunError: the codec has no voices.
    """
    assert output.codec is not None, "asked for of a branch that speaks"
    voiced, rate = _voiced(output, codec), output.codec.spec.sample_rate
    wave = torch.from_numpy(load_audio(sound, rate)).to(voiced.voice.device)
    return Voice(tuple(voiced.listen(wave).tolist()), _weights(codec), rate, sound.name)


def use(output: OutputBranch, codec: Codec, path: Path) -> None:
    """Let a branch's codec speak in the voice of a file from now on.

    Raises:
        RunError: the file is none, or of another codec; or the codec has no voices.
    """
    voiced, voice = _voiced(output, codec), read(path)
    if voice.weights != _weights(codec):
        raise RunError(f"{path} is a voice of other weights ({voice.weights}) than {output.name}.codec has ({_weights(codec)}),"
                       " to which its tokens mean somebody else; take it anew with omnikit voice extract.")
    if len(voice.tokens) != len(voiced.voice):
        raise RunError(f"{path} has {len(voice.tokens)} tokens, but a voice of {output.name}.codec has {len(voiced.voice)};"
                       " take it anew with omnikit voice extract.")
    voiced.voice.copy_(torch.tensor(voice.tokens))


def _voiced(output: OutputBranch, codec: Codec) -> VoicedCodec:
    if not isinstance(codec, VoicedCodec):
        raise RunError(f"{output.name}.codec has one voice only, because it has no `listen`; pick a codec with voices:"
                       " ticodec.")
    return codec


def _weights(codec: Codec) -> str:
    tensors = distinct(cast(nn.Module, codec))
    return tensors_hash(sorted((item for item in tensors if item[0] != SET), key=lambda item: item[0]))
