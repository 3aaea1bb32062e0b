"""VITA whole: published, imported, fed, compared, exported. Sizes, inputs and limits are the case's own."""

import json
from dataclasses import dataclass, field
from pathlib import Path

import torch
from parity.case import Case, ReplayError
from parity.kinds.llama_omni_full import call
from safetensors.torch import load_file, save_file
from tokenizers import AddedToken, Tokenizer
from tokenizers.models import WordLevel
from torch import Tensor, nn

import omnikit
from omnikit.contracts.types import Batch, Features, Signal, Targets
from omnikit.data.batch.padding import pad
from omnikit.inference.generate import Sampling, generate
from omnikit.model import OmniModel
from omnikit.taps import Taps

MARKS = {-200: "vision", -500: "audio"}  # in a case's ids
IGNORED = -100
SPECIALS = ("<|im_start|>", "<|im_end|>", "<s>", "</s>")


class Fbank(nn.Module):
    """VITA's encoder from the filter bank [B, frames, bins] on; it pads before it normalises, so padding has numbers too."""

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, signal: Signal) -> Features:
        numbers = self.encoder.normalisation
        mel = (signal.data - numbers.mean) * numbers.istd  # type: ignore[operator, union-attr]  # mel_cnn's own
        return self.encoder.encode(mel, signal.lengths)  # type: ignore[operator, no-any-return]  # mel_cnn's own


class Whole(nn.Module):
    """VITA 1.0 reads all vectors of a padded batch, also those behind a shorter sound; its projector then counts them all."""

    def __init__(self, projector: nn.Module) -> None:
        super().__init__()
        self.projector = projector

    def forward(self, features: Features) -> Features:
        found = self.projector(features)
        return Features(found.data, torch.full_like(found.lengths, found.data.shape[1]), found.rate)


def matches(case: Case) -> bool:
    held = "".join(case.weights)
    return {"llm", "audio_encoder", "vision"} <= set(case.config) and "model.mm_projector" in held


def replay(case: Case) -> None:
    folder, run, out = (case.scratch / name for name in ("published", "run", "exported"))
    write(case, folder)
    call("import", "vita", str(folder), "--out", str(run))
    model = omnikit.load(run).model.cpu()
    audio = model.get_submodule("audio")
    audio.encoder = Fbank(audio.get_submodule("encoder"))
    audio_lengths = case.inputs.get("audios_lengths_for_llm")
    if audio_lengths is not None:
        features = model.encoder("audio")(signals(case)["audio"])
        case.equal("audio positions", model.projector("audio")(features).lengths.tolist(), audio_lengths.tolist())
    if "mixtral" in case.config["llm"]["model_type"]:
        audio.projector = Whole(audio.get_submodule("projector"))
    learn(case, model)
    answer(case, model)
    call("export", "vita", str(run), "--out", str(out))
    back = {name: tensor for file in sorted(out.glob("model*.safetensors")) for name, tensor in load_file(file).items()}
    unread = {"lm_head.weight"} if case.config["llm"].get("tie_word_embeddings") else set()  # again
    wrong = sorted(name for name in (case.weights.keys() | back.keys()) - unread
                   if name not in back or name not in case.weights or not torch.equal(back[name], case.weights[name]))
    case.equal(f"exported tensors{': ' + wrong[0] if wrong else ''}", wrong, [])
    inner = torch.load(out / "audio-encoder" / "final.pt", weights_only=True)
    case.equal("exported encoder", all(torch.equal(t, back[f"model.audio_encoder.{n}"]) for n, t in inner.items()), True)
    call("import", "vita", str(out), "--out", str(case.scratch / "again"))
    weights = [load_file(folder / "imported" / "weights.safetensors") for folder in (run, case.scratch / "again")]
    same = weights[0].keys() == weights[1].keys() and all(torch.equal(weights[0][name], weights[1][name])
                                                          for name in weights[0])
    case.equal("imported again", same, True)


# ---- the published folder ----


def write(case: Case, folder: Path) -> None:
    """Write a case's model as VITA is published: one set of safetensors, the settings of both encoders beside it."""
    audio, tower = folder / "audio-encoder", folder / "InternViT"
    audio.mkdir(parents=True)
    tower.mkdir()
    save_file({name: tensor.contiguous() for name, tensor in case.weights.items()}, folder / "model.safetensors",
              metadata={"format": "pt"})
    config, llm = case.config, case.config["llm"]
    stated = {"mm_audio_encoder": audio.name, "mm_vision_tower": tower.name, "torch_dtype": "float32",
            "mm_projector_type": config["mm_projector_type"], "mm_vision_select_layer": config.get("select_layer", -1)}
    (folder / "config.json").write_text(json.dumps({**stated, **llm}))
    (tower / "config.json").write_text(json.dumps(config["vision"]))
    settings = {"encoder_conf": config["audio_encoder"], "model_conf": config["audio_adapter"]}
    (audio / "train.yaml").write_text(json.dumps(settings))
    size = llm["vocab_size"]
    words = [f"w{number}" for number in range(size - len(SPECIALS))] + list(SPECIALS)
    tokenizer = Tokenizer(WordLevel({word: number for number, word in enumerate(words)}, unk_token="w0"))
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in SPECIALS])
    tokenizer.save(str(folder / "tokenizer.json"))


# ---- batches ----


@dataclass
class Line:
    """One row with its media in their positions, and where its given positions went."""

    tokens: list[int] = field(default_factory=list)
    labels: list[int] = field(default_factory=list)
    positions: dict[str, list[int]] = field(default_factory=lambda: {"vision": [], "audio": []})
    items: dict[str, list[int]] = field(default_factory=lambda: {"vision": [], "audio": []})


def lines(case: Case, counts: dict[str, list[int]]) -> list[Line]:
    """Spread the case's rows; one without a medium takes a stand-in for it, which its model does not read."""
    ids, found, starts = case.inputs["input_ids"], [], {"vision": 0, "audio": 0}
    mask = case.inputs.get("attention_mask", torch.ones_like(ids))
    labels = case.inputs.get("labels", torch.full_like(ids, IGNORED))
    for row, length in enumerate(mask.sum(1).tolist()):
        line = Line()
        for token, label in zip(ids[row, :length].tolist(), labels[row, :length].tolist(), strict=True):
            spread(line, token, label, counts, starts)
        starts = {name: start + max(len(line.items[name]), 1) for name, start in starts.items()}
        found.append(line)
    return found


def spread(line: Line, token: int, label: int, counts: dict[str, list[int]], starts: dict[str, int]) -> None:
    branch, count = MARKS.get(token), 1
    if branch:
        number = starts[branch] + len(line.items[branch])
        count = counts[branch][number]
        line.items[branch].append(number)
        line.positions[branch] += range(len(line.tokens), len(line.tokens) + count)
    line.tokens += [0 if branch else token] * count
    line.labels += [IGNORED if branch else label] * count


def signals(case: Case) -> dict[str, Signal]:
    images, mel = case.inputs.get("images"), case.inputs.get("audios_fbank")
    if images is None or mel is None:
        raise ReplayError("it has no inputs images and audios_fbank")
    return {"vision": Signal(images, torch.ones(len(images), dtype=torch.int64)),
            "audio": Signal(mel, case.inputs["audios_lengths"])}


def batched(rows: list[Line], given: dict[str, Signal], counts: dict[str, list[int]]) -> Batch:
    longest = max(len(line.tokens) for line in rows)
    items = {name: [number for line in rows for number in line.items[name]] for name in given}
    there = {name: signal for name, signal in given.items() if items[name]}
    answers = [[place for place, label in enumerate(line.labels) if label != IGNORED] for line in rows]
    wanted = [[line.labels[place] for place in positions] for line, positions in zip(rows, answers, strict=True)]
    return Batch(
        tokens=pad([line.tokens for line in rows], 0), lengths=torch.tensor([len(line.tokens) for line in rows]),
        answers=pad(answers, 0), answer_lengths=torch.tensor([len(positions) for positions in answers]),
        signals={name: Signal(signal.data[items[name]], signal.lengths[items[name]]) for name, signal in there.items()},
        slots={name: torch.tensor([row * longest + place for row, line in enumerate(rows) for place in line.positions[name]])
               for name in there},
        counts={name: [counts[name][number] for number in items[name]] for name in there},
        rows={name: [row for row, line in enumerate(rows) for _ in line.items[name]] for name in there},
        targets={"text": Targets(pad(wanted, IGNORED), torch.tensor([len(line) for line in wanted]))},
        ids=[str(row) for row in range(len(rows))])


# ---- comparisons ----


def learn(case: Case, model: OmniModel) -> None:
    """Compare every medium, the spliced batch and what the language model makes of it; padding is compared with nothing."""
    given, atol = signals(case), case.limit("logits_atol", "atol", 2e-4)
    images, audios = model.projector("vision")(model.encoder("vision")(given["vision"])), model.projector("audio")(
        model.encoder("audio")(given["audio"]))
    counts = {"vision": images.lengths.tolist(), "audio": audios.lengths.tolist()}
    case.close("image_visual_tokens", images.data, atol=atol)
    close_where(case, "audio_inputs_embeds", audios.data, lengths_mask(audios.lengths, audios.data.shape[1]), atol)
    rows = lines(case, counts)
    batch = batched(rows, given, counts)
    taps, valid = Taps(model, batch), lengths_mask(batch.lengths, batch.tokens.shape[1])
    labels = pad([line.labels for line in rows], IGNORED)
    if "spliced_attention_mask" in case.outputs:
        case.equal("spliced_attention_mask", valid.to(torch.uint8), case.outputs["spliced_attention_mask"].to(torch.uint8))
    if "spliced_labels" in case.outputs:
        case.equal("spliced_labels", labels, case.outputs["spliced_labels"])
    close_where(case, "spliced_inputs_embeds", taps.inputs, valid, atol)
    close_where(case, "last_hidden_state", taps.hidden, valid, atol)
    close_where(case, "logits", model.language_model().logits(taps.hidden), valid, atol)
    case.close("loss", model.losses(batch, ["text"])["text"], atol=case.limit("loss_atol", "atol", 1e-5))


def close_where(case: Case, output: str, found: Tensor, mask: Tensor, atol: float) -> None:
    expected = case.outputs.get(output)
    if expected is not None and expected.shape == found.shape:
        found, expected = found[mask], expected[mask]
    case.close(output, found, atol=atol, expected=expected)


def lengths_mask(lengths: Tensor, width: int) -> Tensor:
    return torch.arange(width) < lengths[:, None]


def answer(case: Case, model: OmniModel) -> None:
    """Compare the ids that are written greedily behind the case's prompt."""
    expected, ids = case.words_out.get("generated_ids"), case.inputs.get("generate_input_ids")
    if expected is None or ids is None:
        return
    given = signals(case)
    chosen = {name: case.inputs[f"generate_{word}_rows"] for name, word in (("vision", "image"), ("audio", "audio"))}
    picked = {name: Signal(given[name].data[rows], given[name].lengths[rows]) for name, rows in chosen.items()}
    counts = {name: model.projector(name)(model.encoder(name)(signal)).lengths.tolist() for name, signal in picked.items()}
    line = Line()
    for token in ids[0].tolist():
        spread(line, token, IGNORED, counts, {"vision": 0, "audio": 0})
    wanted = Sampling((), len(expected))  # the end, if it was written, is the last of them
    found = generate(model, batched([line], picked, counts), wanted).tokens[0]
    case.equal("generated_ids", found, expected)
    case.compared |= {name for name in case.words_out if name.startswith("top1")}  # of the case's making
