"""The streaming encoder and adapter (Freeze-Omni's style) by windows of mel frames, and from the wave, cut otherwise."""

from itertools import pairwise

import torch
from omnikit_mel_cnn.config import OVERLAP
from omnikit_mel_cnn.layers import Cache
from omnikit_mel_cnn.model import MelCnnEncoder
from omnikit_mel_cnn.streaming import chunk
from parity.case import Case
from parity.kinds.whale import ENCODER, PROJECTOR, adapter, load, same, settings
from torch import Tensor, nn

from omnikit.contracts.types import Features, Signal

CUTS = (0, 1, 700, 3000, 3000, 9999)  # samples; where the wave is cut must not matter


def matches(case: Case) -> bool:
    return "feature_chunks" in case.inputs and "encoder_out_chunks" in case.outputs


def replay(case: Case) -> None:
    encoder, projector = built(case)
    windows(case, encoder, projector)
    whole_wave(case, encoder, projector)


def built(case: Case) -> tuple[MelCnnEncoder, nn.Module]:
    chunker, parts = case.config["chunker"], case.config["adapter"]
    bank = chunker["fbank"]
    config = settings(case, case.config, lead=True, restart=True, frame_length_ms=bank["frame_length"],
                      frame_shift_ms=bank["frame_shift"])
    assert chunker["overlap_frames"] == OVERLAP and chunker["chunk_frames"] == 4 * (config.chunk_size or 0)
    encoder = config.build()
    load(encoder, case, ENCODER, "encoder.")
    projector = adapter(case, parts, causal=True).build(config.output, parts["llm_embed_dim"])
    load(projector, case, PROJECTOR, "")
    return encoder, projector


def windows(case: Case, encoder: MelCnnEncoder, projector: nn.Module) -> None:
    """Give the case's own windows of mel frames, one by one."""
    numbers, state, held = encoder.normalisation, encoder.init_state(1), projector.init_state(1)
    caches, count, outs, ends = state.caches, 0, list[Tensor](), list[Tensor]()
    positions = []
    for window in case.inputs["feature_chunks"]:
        vectors, caches = chunk(encoder, (window[None] - numbers.mean) * numbers.istd, caches, count)
        count += vectors.shape[1]
        positions.append(count)
        end, held = projector.step(Features(vectors, torch.tensor([vectors.shape[1]])), held)
        outs.append(vectors)
        ends.append(end.data)
    same(case, "encoder_out_chunks", torch.cat(outs))
    same(case, "adapter_out_chunks", torch.cat(ends))
    same(case, "final_adapter_cache", held.held)
    compare_caches(case, caches)
    if "pe_index_after_each_chunk" in case.facts:
        case.equal("pe_index_after_each_chunk", positions, case.facts["pe_index_after_each_chunk"])


def compare_caches(case: Case, caches: tuple[Cache, ...]) -> None:
    for number, cache in enumerate(caches):
        for name, tensor in zip("kv", cache, strict=True):
            same(case, f"final_kv_cache_layer{number}_{name}", tensor)


def whole_wave(case: Case, encoder: MelCnnEncoder, projector: nn.Module) -> None:
    """Compare what the wave gives, cut elsewhere, and what it gives at once, by static chunks."""
    expected, wave = case.outputs["encoder_out_chunks"].flatten(0, 1), case.inputs["wav"].view(1, -1)
    ends, total = case.outputs["adapter_out_chunks"].flatten(0, 1), wave.shape[1]
    state, held, outs, projected = encoder.init_state(1), projector.init_state(1), list[Tensor](), list[Tensor]()
    for first, behind in pairwise(sorted({*(cut for cut in CUTS if cut < total), total})):
        features, state = encoder.step(signal(wave[:, first:behind]), state)
        end, held = projector.step(features, held)
        outs.append(features.data[0])
        projected.append(end.data[0])
    atol, rtol = case.limit("atol", "atol", 5e-5), case.limit("rtol", "rtol", 2e-4)
    case.close("encoder_out_chunks by other cuts", torch.cat(outs), atol=atol, rtol=rtol, expected=expected)
    case.close("adapter_out_chunks by other cuts", torch.cat(projected), atol=atol, rtol=rtol, expected=ends)
    begun = min((encoder.config.left_chunks + 1) * encoder.config.chunk_size, len(expected))  # positions are true up to there
    case.close("encoder_out_chunks at once", encoder(signal(wave)).data[0, :begun], atol=atol, rtol=rtol,
               expected=expected[:begun])


def signal(wave: Tensor) -> Signal:
    return Signal(wave, torch.tensor([wave.shape[1]]))
