"""Voice files: the tokens with which a codec decodes in a speaker's voice, extracted from a recording.

A voice file is JSON: {"voice": [tokens], "weights": hash of the codec's weights, "sample_rate": its rate, "source": the file}.
Tokens mean another voice to other weights, so the file names them.
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
from omnikit.data.media.containers import DEFAULTS
from omnikit.errors import RunError
from omnikit.plan.plan import OutputBranch
from omnikit.recipe.media import MediaLimits
from omnikit.store.files import write_text
from omnikit.store.hashes import distinct, part_hash, tensor_digest
from omnikit.store.tensors import read_json

SET = "voice"  # the buffer of a codec with the voice in use, which is not part of the weights that make tokens


@runtime_checkable
class VoicedCodec(Codec, Protocol):
    """A codec whose codes hold the content, and some tokens, the same for a whole recording, the voice.

    - voice: [G] int64, the tokens that `decode` uses.
    """

    voice: Tensor

    def voice_tokens(self, waveform: Tensor) -> Tensor:
        """Waveform [N] to the tokens [G] of its voice; raises DataError where it is too short."""


@dataclass(frozen=True)
class Voice:
    """A voice that was extracted from a recording, and the weights that extracted it."""

    tokens: tuple[int, ...]
    weights: str
    sample_rate: int
    source: str

    def save(self, path: Path) -> None:
        """Write it as JSON, atomically; raises RunError where the disk refuses."""
        content = {"voice": list(self.tokens), "weights": self.weights, "sample_rate": self.sample_rate, "source": self.source}
        write_text(path, json.dumps(content) + "\n")


def read(path: Path) -> Voice:
    """Give the voice of a file; raises RunError if it is missing or holds something else."""
    if path.is_file() and path.read_bytes()[:1] != b"{":
        raise RunError(f"{path} is not a voice file; make one of a recording with omnikit voice extract.")
    found = read_json(path)
    tokens = found.get("voice")
    if not isinstance(tokens, list) or not tokens or not all(type(token) is int for token in tokens):
        raise RunError(f"{path} is not a voice file: it must have a list of tokens under `voice`; make it with omnikit voice"
                       " extract.")
    rate = found.get("sample_rate")
    return Voice(tuple(tokens), str(found.get("weights")), rate if isinstance(rate, int) else 0, str(found.get("source")))


@torch.no_grad()
def extract(output: OutputBranch, codec: Codec, recording: Path, limits: MediaLimits = DEFAULTS) -> Voice:
    """Give the voice of a recording, by a branch's codec.

    Raises:
        DataError: the recording cannot be read, or is too short.
        RunError: the codec has no voices.
    """
    assert output.codec is not None, "voices belong to a branch with a codec"
    voiced, rate = _voiced(output, codec), output.codec.spec.sample_rate
    waveform = torch.from_numpy(load_audio(recording, rate, limits=limits)).to(voiced.voice.device)
    return Voice(tuple(voiced.voice_tokens(waveform).tolist()), _weights(codec), rate, recording.name)


def use(output: OutputBranch, codec: Codec, path: Path) -> None:
    """Set the voice of a branch's codec to that of a file.

    Raises:
        RunError: the file is not a voice file, or of another codec; or the codec has no voices.
    """
    voiced, voice = _voiced(output, codec), read(path)
    if voice.weights != _weights(codec):
        raise RunError(f"{path} is a voice of other weights ({voice.weights}) than {output.name}.codec has ({_weights(codec)}),"
                       " for which its tokens mean another voice; extract it again with omnikit voice extract.")
    if len(voice.tokens) != len(voiced.voice):
        raise RunError(f"{path} has {len(voice.tokens)} tokens, but a voice of {output.name}.codec has {len(voiced.voice)};"
                       " extract it again with omnikit voice extract.")
    voiced.voice.copy_(torch.tensor(voice.tokens))


def _voiced(output: OutputBranch, codec: Codec) -> VoicedCodec:
    if not isinstance(codec, VoicedCodec):
        raise RunError(f"{output.name}.codec has one voice only, because it has no `voice_tokens`; pick a codec with voices:"
                       " ticodec.")
    return codec


def _weights(codec: Codec) -> str:
    return part_hash({name: tensor_digest(tensor) for name, tensor in distinct(cast(nn.Module, codec)) if name != SET})
