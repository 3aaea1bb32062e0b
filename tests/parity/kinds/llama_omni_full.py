"""LLaMA-Omni whole: published, imported, fed, compared, exported. Sizes, inputs, chunk sizes and limits are the case's own."""

import contextlib
import io
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any

import torch
from omnikit_llama_omni.model import CTCUnitHead, upsample
from parity import llama_omni_folder
from parity.case import Case, ReplayError
from torch import Tensor, nn

import omnikit
from omnikit.cli import main as command
from omnikit.contracts.codes import to_file
from omnikit.contracts.types import Batch, Features, Signal, Targets
from omnikit.data.batch.padding import pad
from omnikit.inference.generate import Generated, Sampling, decode_codes, decoding_steps, generate
from omnikit.inference.speech_stream import SpeechStream
from omnikit.model import OmniModel
from omnikit.plan.plan import OutputBranch
from omnikit.taps import Taps

MARK = -200  # stands for one clip in a case's ids
IGNORED = -100  # in a case's labels and units


class Mel(nn.Module):
    """Whisper's encoder from the log-mel [B, frames, bins] on; those of its vectors count that have valid frames."""

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, signal: Signal) -> Features:
        lengths = (signal.lengths + 1) // 2
        return Features(self.encoder.encode(signal.data.transpose(1, 2), lengths), lengths)  # type: ignore[operator]  # whisper's own


def matches(case: Case) -> bool:
    return {"llm", "whisper_encoder"} <= set(case.config) and any(k.startswith("speech_generator.") for k in case.weights)


def replay(case: Case) -> None:
    folder, run, out = (case.scratch / name for name in ("published", "run", "exported"))
    tensors = llama_omni_folder.write(case, folder)
    call("import", "llama_omni", str(folder), "--out", str(run))
    model = omnikit.load(run).model.cpu()
    model.get_submodule("audio").encoder = Mel(model.get_submodule("audio.encoder"))
    asked = batch(case, model, "")
    compare_audio(case, model)
    splice(case, model, asked)
    speak(case, model, asked, write(case, model, asked))
    stream(case, model, asked)
    if "train_input_ids" in case.inputs:
        learn(case, model)
    call("export", "llama_omni", str(run), "--out", str(out))
    back = llama_omni_folder.read(out)
    if case.config["llm"].get("tie_word_embeddings"):  # one matrix, which a file may hold once or twice
        tensors.pop("lm_head.weight", None), back.pop("lm_head.weight", None)
    wrong = sorted(name for name in tensors.keys() | back.keys()
                   if name not in tensors or name not in back or not torch.equal(tensors[name], back[name]))
    case.equal(f"exported tensors{': ' + wrong[0] if wrong else ''}", wrong, [])


def call(*words: str) -> None:
    """Run a command of ours; what it prints is shown only if it fails."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
        code = command(list(words))
    if code:
        raise ReplayError(f"omnikit {' '.join(words[:2])} gave {code}: {printed.getvalue().strip()[-600:]}")


# ---- batches ---------------------------------------------------------------------------------------------------------


@dataclass
class Line:
    """One row with its clips in their positions."""

    tokens: list[int]
    labels: list[int]
    positions: list[int]
    clips: list[int]  # by number


def batch(case: Case, model: OmniModel, prefix: str) -> Batch:
    """Make a batch of a case's ids, in which MARK stands for a clip; a row without one takes a clip without using it."""
    given = {name: case.inputs.get(f"{prefix}{name}") for name in ("input_ids", "mel", "mel_lengths", "labels", "tgt_units")}
    ids, mels, frames = given["input_ids"], given["mel"], given["mel_lengths"]
    projector = model.plan.inputs["audio"].projector
    if ids is None or mels is None or frames is None or projector is None:
        raise ReplayError(f"it has no inputs {prefix}input_ids, {prefix}mel and {prefix}mel_lengths")
    mask, labels = case.inputs.get(f"{prefix}attention_mask", torch.ones_like(ids)), given["labels"]
    counts, first, lines = [projector.length((n + 1) // 2) for n in frames.flatten().tolist()], 0, []
    for row, length in enumerate(mask.sum(1).tolist()):
        wanted = [IGNORED] * length if labels is None else labels[row, :length].tolist()
        lines.append(spread(ids[row, :length].tolist(), wanted, counts, first))
        first += max(len(lines[-1].clips), 1)
    longest, clips = max(len(line.tokens) for line in lines), [clip for line in lines for clip in line.clips]
    answers = [[position for position, label in enumerate(line.labels) if label != IGNORED] for line in lines]
    branches = {"audio"} if clips else set()
    return Batch(
        tokens=pad([line.tokens for line in lines], 0), lengths=torch.tensor([len(line.tokens) for line in lines]),
        answers=pad(answers, 0), answer_lengths=torch.tensor([len(positions) for positions in answers]),
        signals={name: Signal(mels[clips], frames.flatten()[clips]) for name in branches},
        slots={name: torch.tensor([row * longest + position for row, line in enumerate(lines) for position in line.positions])
               for name in branches},
        counts={name: [counts[clip] for clip in clips] for name in branches},
        rows={name: [row for row, line in enumerate(lines) for _ in line.clips] for name in branches},
        targets=targets([line.labels for line in lines], given["tgt_units"]), ids=[str(row) for row in range(len(lines))])


def spread(ids: list[int], labels: list[int], counts: list[int], first: int) -> Line:
    """Give each clip of a row, from number `first` on, its positions."""
    line = Line([], [], [], [])
    for token, label in zip(ids, labels, strict=True):
        count = 1
        if token == MARK:
            count = counts[first + len(line.clips)]
            line.clips.append(first + len(line.clips))
            line.positions += range(len(line.tokens), len(line.tokens) + count)
        line.tokens += [0 if token == MARK else token] * count
        line.labels += [IGNORED if token == MARK else label] * count
    return line


def targets(labels: list[list[int]], units: Tensor | None) -> dict[str, Targets]:
    wanted = [[label for label in marks if label != IGNORED] for marks in labels]
    found = {"text": Targets(pad(wanted, IGNORED), torch.tensor([len(line) for line in wanted]))}
    return found if units is None else found | {"speech": Targets(units[..., None], (units != IGNORED).sum(-1))}


# ---- comparisons, by the letters of the case's outputs ---------------------------------------------------------------


def compare_audio(case: Case, model: OmniModel) -> None:
    """(a) encoder, projector and the embeddings that count, of every clip, whether the question has it or not."""
    atol, frames = case.limit("hidden", "atol", 1e-4), case.inputs["mel_lengths"].flatten()
    encoded = model.encoder("audio")(Signal(case.inputs["mel"], frames))
    projected = model.projector("audio")(encoded)
    features = [row[:count] for row, count in zip(projected.data, projected.lengths.tolist(), strict=True)]
    stored = case.outputs.get("a_speech_features")
    first = stored is not None and len(stored) == len(features[0])  # a case may hold its first clip only
    case.close("a_encoder_out", encoded.data, atol=atol)
    case.close("a_projector_out", projected.data, atol=atol)
    case.close("a_speech_features", features[0] if first else torch.cat(features), atol=atol)


def splice(case: Case, model: OmniModel, asked: Batch) -> None:
    """(b) spliced embeddings, states, logits."""
    atol, taps = case.limit("hidden", "atol", 1e-4), Taps(model, asked)
    case.close("b_inputs_embeds", taps.inputs, atol=atol)
    case.close("b_last_hidden_state", taps.hidden, atol=atol)
    case.close("b_logits", model.language_model().logits(taps.hidden), atol=case.limit("logits", "atol", 2e-4))


def write(case: Case, model: OmniModel, asked: Batch) -> Generated:
    """(c) greedy ids, with the case's end and with the one of `with_eos`."""
    if "c_generated_ids" not in case.outputs:
        raise ReplayError("it has no output c_generated_ids, whose length is the number of tokens to decode")
    expected = case.outputs["c_generated_ids"]
    generated = generate(model, asked, sampling(case, expected.shape[1]))
    case.equal("c_generated_ids", generated.tokens, expected.tolist())
    if "generated_ids" in case.words_out:
        case.equal("generated_ids", generated.tokens[0], case.words_out["generated_ids"])
    ended = case.words_out.get("with_eos")
    if ended:
        short = generate(model, asked, Sampling(ends(ended["eos_token_id"]), expected.shape[1]))
        case.equal("with_eos/generated_ids", short.tokens[0], ended["generated_ids"])
        case.equal("with_eos/units", to_file(decode_codes(model, model.plan.outputs["speech"], short)[0]), ended["units"])
        head: CTCUnitHead = model.get_submodule("speech.head")  # type: ignore[assignment]  # LLaMA-Omni has this one
        case.equal("with_eos/n_ctc_frames", int(short.lengths[0]) * head.config.factor, ended["n_ctc_frames"])
    return generated


def sampling(case: Case, limit: int) -> Sampling:
    return Sampling(ends(case.config["llm"].get("eos_token_id", [])), limit)


def ends(stated: int | list[int]) -> tuple[int, ...]:
    """Give the ids of which any ends an answer."""
    return tuple(stated) if isinstance(stated, list) else (stated,)


def speak(case: Case, model: OmniModel, asked: Batch, generated: Generated) -> None:
    """(d) the states that the head gets, their copies, classes of frames, units."""
    head: CTCUnitHead = model.get_submodule("speech.head")  # type: ignore[assignment]  # LLaMA-Omni has this one
    states, lengths = generated.hidden_before, generated.lengths
    frames = lengths * head.config.factor
    longest = int(frames.max())
    case.close("d_hidden_states_for_units", states[0], atol=case.limit("hidden", "atol", 1e-4))
    case.close("d_upsampled_input", upsample(states, lengths, frames, longest)[0][0], atol=case.limit("hidden", "atol", 1e-4))
    logits = head(states, lengths, frames, longest)
    best, units = logits.argmax(-1), to_file(decode_codes(model, model.plan.outputs["speech"], generated)[0])
    case.close("d_ctc_logits", logits[0], atol=case.limit("ctc_logits", "atol", 5e-3))
    for name, found in {"d_ctc_argmax": best[0].tolist(), "d_units": units}.items():
        if name in case.outputs:
            case.equal(name, found, case.outputs[name].flatten().tolist())
    values: dict[str, Any] = {"ctc_argmax": best[0].tolist(), "units": units, "units_string": " ".join(map(str, units)),
                            "blank": head.blank}
    for name, value in values.items():
        if name in case.words_out:
            case.equal(name, value, case.words_out[name])
    if "blank_share" in case.words_out:
        share = torch.tensor(case.words_out["blank_share"])
        case.close("blank_share", (best == head.blank).float().mean(), atol=1e-6, expected=share)
    case.compared |= {"llm_min_top1_margin", "ctc_min_top1_margin"}  # of the case's making, nothing that a model gives


def stream(case: Case, model: OmniModel, asked: Batch) -> None:
    """(e) new units after each token, and the segments that go to the vocoder, for each of the case's sizes."""
    expected, output = case.words_out.get("streaming"), model.plan.outputs["speech"]
    if not expected:
        return
    limit = case.outputs["c_generated_ids"].shape[1]
    new = {position["after_token"]: position["units"] for position in segments(model, output, asked, sampling(case, limit), 1)}
    found = [new.get(number, []) for number in range(limit)]
    case.equal("streaming/new_units_after_each_token", found, expected["new_units_after_each_token"])
    if "equal_to_offline" in expected:
        offline = decode_codes(model, output, generate(model, asked, sampling(case, limit)))
        same = [list(chain(*found))] == list(map(to_file, offline))
        case.equal("streaming/equal_to_offline", same, expected["equal_to_offline"])
    for size, chunks in expected.get("chunks", {}).items():
        case.equal(f"streaming/chunks/{size}", segments(model, output, asked, sampling(case, limit), int(size)), chunks)


def segments(model: OmniModel, output: OutputBranch, asked: Batch, wanted: Sampling, size: int) -> list[dict[str, Any]]:
    """Give the segments of at least `size` units as the case writes them."""
    speech, number, found = SpeechStream(model, output, size, independent=True), -1, []
    for step in decoding_steps(model, asked, wanted):
        number += step.tokens is not None
        found += [{"after_token": number, "units": to_file(segment.codes)} for segment in speech.write(step)]
    found += [{"after_token": number, "flush": True, "units": to_file(rest.codes)} for rest in speech.finish() if rest.codes]
    return found


def learn(case: Case, model: OmniModel) -> None:
    """(f) the losses of both stages and of both at once, and what goes into them."""
    train_batch, output = batch(case, model, "train_"), model.plan.outputs["speech"]
    compare_splice(case, train_batch)
    head: CTCUnitHead = model.get_submodule("speech.head")  # type: ignore[assignment]  # LLaMA-Omni has this one
    head.config = replace(head.config, skip_unreachable=True)  # as the original has it; ours refuses such rows
    features, units = Taps(model, train_batch).features(output), train_batch.targets["speech"].lengths
    frames = torch.maximum(head.config.factor * features.lengths, units)
    longest = int(frames.max())
    logits = head(features.data, features.lengths, frames, longest)
    copied, _ = upsample(features.data, features.lengths, frames, longest)
    valid = torch.arange(longest) < frames[:, None]  # what stands in padding is nobody's
    if "f_ctc_logits" in case.outputs:
        case.close("f_ctc_logits", logits[valid], atol=case.limit("ctc_logits", "atol", 5e-3),
                   expected=case.outputs["f_ctc_logits"][valid])
    case.close("f_upsampled_inputs", copied, atol=case.limit("hidden", "atol", 1e-4))
    first, second = case.limit("losses", "rtol", 1e-5, "stage 1"), case.limit("losses", "rtol", 1e-3, "CTC")
    text, speech = model.losses(train_batch, ["text"])["text"], model.losses(train_batch, ["speech"])["speech"]
    joint = model.losses(train_batch, ["text", "speech"])
    weight = case.config["llm"].get("ctc_loss_weight", 1.0)
    both = joint["text"] + weight * joint["speech"]
    case.close("f_stage1_ce_loss", text, rtol=first)
    case.close("f_stage2_ctc_loss", speech, rtol=second)
    case.close("f_joint_loss", both, rtol=second)
    training_losses = {"stage1_ce": (text, first), "stage2_ctc": (speech, second), "joint": (both, second)}
    numbers = {"answer_tokens": features.lengths, "tgt_units": units, "ctc_input_lengths": frames}
    for name, value in case.words_out.get("train", {}).items():
        if name in training_losses:
            case.close(f"train/{name}", training_losses[name][0], rtol=training_losses[name][1], expected=torch.tensor(value))
        elif name in numbers:
            case.equal(f"train/{name}", numbers[name].tolist(), value)
    case.compared.add("train")


def compare_splice(case: Case, train_batch: Batch) -> None:
    """Compare labels and mask after the clips are spliced in."""
    labels = torch.full_like(train_batch.tokens, IGNORED)
    wanted, positions = train_batch.targets["text"], torch.arange(train_batch.tokens.shape[1])
    for row, count in enumerate(train_batch.answer_lengths.tolist()):
        labels[row, train_batch.answers[row, :count]] = wanted.ids[row, :count]
    mask = positions < train_batch.lengths[:, None]
    for name, value in {"f_spliced_labels": labels, "f_spliced_attention_mask": mask}.items():
        if name in case.outputs:
            case.equal(name, value.long(), case.outputs[name].long())
