"""VITA-1.5's speech as it is made: codes one by one, overlapping chunks of them decoded, the wave cut where it is quiet.

The weights are those of two other cases, which lie beside this one: a codec's and a speech decoder's.
"""

import re
from dataclasses import replace
from typing import Any

import torch
from omnikit_vita.ticodec_model import TiCodecModel
from omnikit_vita.ticodec_overlap import Overlapped
from parity.case import Case, ReplayError
from parity.kinds import ticodec, vita_speech_decoder
from torch import Tensor

from omnikit.contracts.types import Features

CHUNK, PADDING, WINDOW, THRESHOLD = 40, 10, 2401, 0.01  # of the original's function, where a run does not state it


def matches(case: Case) -> bool:
    return "codec_upsample_rate" in case.config and not case.weights


def replay(case: Case) -> None:
    sizes = case.scratch / "codec"
    sizes.mkdir()
    codec = ticodec.built(beside(case, "codec"), sizes)
    codec.voice.copy_(torch.tensor(case.config["global_tokens"]))
    head = vita_speech_decoder.built(beside(case, "decoder"))
    head.config = replace(head.config, top_k=1, repetition_window=0)
    for facts in case.words_out["runs"]:
        hidden = case.inputs[facts["hidden"]]
        if facts.get("error"):
            codes = torch.tensor(facts["tokens"])[:, None]
            case.raises(f"runs[{facts['index']}]", lambda facts=facts, codes=codes: spoken(codec, facts, codes, []))
            continue
        codes = [code for code, in head.speak(Features(hidden, torch.tensor([hidden.shape[1]])))]
        case.equal(f"runs[{facts['index']}] tokens", codes, facts["tokens"])
        speak(case, codec, facts, torch.tensor(codes)[:, None])


def beside(case: Case, key: str) -> Case:
    """Give the case that holds the weights which the configuration names as ../NAME."""
    found = re.search(r"\.\./(\w+)", str(case.config[key]))
    folder = case.folder.parent / found[1] if found else case.folder
    if not found or not (folder / "case.json").is_file():
        raise ReplayError(f"its {key} is {case.config[key]!r}, which does not lie beside it")
    return Case(folder, case.scratch)


def speak(case: Case, codec: TiCodecModel, facts: dict[str, Any], codes: Tensor) -> None:
    """Compare what was decoded, the segments, and the wave; ours, exact, is the wave of all."""
    name, calls = f"run{facts['index']}", list[dict[str, int]]()
    pieces = spoken(codec, facts, codes, calls)
    wave = torch.cat(pieces)
    case.equal(f"runs[{facts['index']}] codec_calls", calls, facts["codec_calls"])
    lengths = [len(piece) for piece in pieces]
    case.equal(f"runs[{facts['index']}] segment_lengths", lengths, facts["segment_lengths"])
    case.equal(f"{name}_segment_lengths", torch.tensor(lengths), case.outputs[f"{name}_segment_lengths"])
    case.equal(f"runs[{facts['index']}] total_samples", len(wave), facts["total_samples"])
    case.close(f"{name}_wav", wave[None, None], atol=case.limit("wav_atol", "atol", 5e-5))
    apart = (wave - codec.decode(codes)).abs().max()
    case.close(f"{name} off the wave of all codes", apart, expected=torch.tensor(facts["max_abs_diff_to_non_streaming_decode"]),
               atol=2 * case.limit("wav_atol", "atol", 5e-5))


def spoken(codec: TiCodecModel, facts: dict[str, Any], codes: Tensor, calls: list[dict[str, int]]) -> list[Tensor]:
    """Hand codes [N, 1] over one by one; give the segments, and note in `calls` what was decoded."""
    params = facts["params"]
    chunk, threshold = params.get("codec_chunk_size", CHUNK), params.get("seg_threshold", THRESHOLD)
    config = replace(codec.config, stream="overlap", first_chunk=chunk, padding=params.get("codec_padding_size", PADDING),
                     quiet_window=params.get("N", WINDOW), first_threshold=threshold)

    def decode(given: Tensor) -> Tensor:
        wave = codec.decode(given)
        calls.append({"codes_in_call": len(given), "samples_out": len(wave)})
        return wave

    state = Overlapped(config, decode)
    pieces = [state.step(codes[place:place + 1], last=False) for place in range(len(codes))]
    return [piece for piece in [*pieces, state.step(codes[:0], last=True)] if len(piece)]
