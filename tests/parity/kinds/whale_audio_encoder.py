"""VITA's audio encoder and adapter from the filter bank on: alone, in a padded batch, with static chunks."""

import re
from dataclasses import replace
from shutil import copyfile

import torch
from omnikit_mel_cnn.cmvn import read_cmvn
from omnikit_mel_cnn.layers import sines
from omnikit_mel_cnn.model import MelCnnEncoder
from parity.case import Case
from parity.kinds.whale import ENCODER, PROJECTOR, adapter, load, mask, same, settings
from torch import Tensor, nn

from omnikit.contracts.types import Features

ROOT = "model.audio_encoder."


def matches(case: Case) -> bool:
    return "single_fbank" in case.inputs and f"{ROOT}encoder.enc.0.core.conv.0.weight" in case.weights


def replay(case: Case) -> None:
    encoder, projector = built(case)
    for name in ("single", "batch"):
        if f"{name}_fbank" in case.inputs:
            compare(case, name, encoder, projector)
    alone(case, encoder, projector)
    for output in case.outputs:
        found = re.fullmatch(r"chunk(-?\d+)_left(-?\d+)_encoder_out", output)
        if found:
            chunk, left = int(found[1]), int(found[2])
            whole = chunk <= 0  # then there is no chunk to be left of
            chunked = replace(encoder.config, chunk_size=None if whole else chunk,
                              left_chunks=None if whole or left < 0 else left)
            other = chunked.build().eval()
            other.load_state_dict(encoder.state_dict())
            features, out = run(case.inputs["single_fbank"], case.inputs["single_lengths"], other, projector)
            same(case, output, features.data)
            same(case, output.replace("encoder_out", "inputs_embeds"), out.data)
    statistics(case, encoder)


def built(case: Case) -> tuple[MelCnnEncoder, nn.Module]:
    config = settings(case, case.config["encoder_conf"]["para_conf"])
    parts = case.config["model_conf"]
    encoder = config.build()
    load(encoder, case, ENCODER, f"{ROOT}encoder.")
    projector = adapter(case, parts, causal=False).build(config.output, parts["llm_embed_dim"])
    load(projector, case, PROJECTOR, ROOT)
    return encoder, projector


def run(mel: Tensor, frames: Tensor, encoder: MelCnnEncoder, projector: nn.Module) -> tuple[Features, Features]:
    """Give the encoder's features and the projector's for a filter bank that is not yet normalised.

    The original pads before it normalises, ours after: what its padding became is put back, as its numbers show padding too.
    """
    numbers = encoder.normalisation
    features = encoder.encode((mel - numbers.mean) * numbers.istd, frames)
    return features, projector(features)


def compare(case: Case, name: str, encoder: MelCnnEncoder, projector: nn.Module) -> None:
    mel, frames = case.inputs[f"{name}_fbank"], case.inputs[f"{name}_lengths"]
    normalised = (mel - encoder.normalisation.mean) * encoder.normalisation.istd
    same(case, f"{name}_cmvn", normalised)
    subsampled = encoder.reduce(normalised)
    same(case, f"{name}_subsampled", subsampled)
    features, out = run(mel, frames, encoder, projector)
    x, positions = encoder.place(subsampled, 0), sines(0, subsampled.shape[1], encoder.config.dim, subsampled.device)
    visible = encoder.mask(x.shape[1], features.lengths)
    for number, layer in enumerate(encoder.layers):
        x, _ = layer(x, visible, positions)
        same(case, f"{name}_after_layer_{number}", x)
    same(case, f"{name}_encoder_out", features.data)
    same(case, f"{name}_inputs_embeds", out.data)
    for output, lengths, width in (("encoder", features.lengths, x.shape[1]), ("attention", out.lengths, out.data.shape[1])):
        expected = case.outputs.get(f"{name}_{output}_mask")
        if expected is not None:
            before = width - expected.shape[-1]  # prompts, where the original's mask does not count them
            case.equal(f"{name}_{output}_mask", mask(lengths - before, width - before).view(expected.shape), expected)
    expected = case.inputs.get(f"{name}_lengths_for_llm")
    if expected is not None:  # of the audio alone: the original adds its prompts later
        case.equal(f"{name} positions", (out.lengths - prompts(projector)).tolist(), expected.tolist())


def prompts(projector: nn.Module) -> int:
    """Give how many learned vectors stand before the audio."""
    found = getattr(projector, "prompts", None)
    return 0 if found is None else len(found)


def alone(case: Case, encoder: MelCnnEncoder, projector: nn.Module) -> None:
    """Compare each row of the batch by itself, and what the language model reads of it in the batch."""
    if "batch_fbank" not in case.inputs:
        return
    mel, frames = case.inputs["batch_fbank"], case.inputs["batch_lengths"]
    _, together = run(mel, frames, encoder, projector)
    for row, count in enumerate(frames.tolist()):
        output = f"unpadded_item{row}_inputs_embeds"
        expected = case.outputs.get(output)
        if expected is None:
            continue
        _, out = run(mel[row:row + 1, :count], frames[row:row + 1], encoder, projector)
        same(case, output, out.data[0, :len(expected)])
        read = int(out.lengths)
        same_rows = together.data[row, :read]
        case.close(f"{output} in the batch", same_rows, atol=case.limit("atol", "atol", 5e-5),
                   rtol=case.limit("rtol", "rtol", 2e-4), expected=expected[:read])


def statistics(case: Case, encoder: MelCnnEncoder) -> None:
    """Compare the buffers with what the statistics file gives."""
    for file in case.folder.glob("global_cmvn*"):
        copied = case.scratch / file.name
        copyfile(file, copied)
        for name, numbers in zip(("mean", "istd"), read_cmvn(str(copied), encoder.config.mel_bins), strict=True):
            case.close(f"{file.name} {name}", torch.tensor(numbers), rtol=1e-6,
                       expected=getattr(encoder.normalisation, name))
