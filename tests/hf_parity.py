"""Tiny models of transformers, saved and imported, and what both give for the same two rows: what the parity tests share.

A row is a list of token ids and of MEDIUM, the place of the next medium.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from shutil import copyfile

import torch
from torch import Tensor
from transformers.modeling_utils import PreTrainedModel

from omnikit import splice
from omnikit.contracts.layout import InputLayout
from omnikit.contracts.media import Medium
from omnikit.contracts.types import Batch, Signal, Targets
from omnikit.inference.session import load
from omnikit.model import OmniModel
from omnikit.taps import Taps
from omnikit.training.import_run import import_checkpoint

TOKENIZER = Path(__file__).parents[1] / "conf" / "tokenizer" / "tiny.json"
MEDIUM = -1
ANSWERS = ([51, 52, 53, 54], [55, 56])  # of the rows, for an encoder-decoder
START = 0  # its decoder's first token
ROWS = ([MEDIUM, MEDIUM, 31, 32, 33], [41, 42, 43, 44, 45, 46, MEDIUM, 47, 48, MEDIUM])  # two media in a row; first and last


@dataclass(frozen=True)
class Case:
    """A class of transformers.

    Args:
        build: makes a tiny model of it.
        branch: the input branch of its medium.
        media: makes so many signals of unequal content (and length, where they have one), and their sizes.
        inputs: gives transformers' inputs for the signals that our encoder takes.
        placeholder: the id of the medium in transformers' input.
        exact: whether all modules on the way are theirs.
        prefix: whether a row is attended to both ways.
        text: whether the projector reads text beside each signal.
        decoder: whether the language model is an encoder-decoder: rows then have answers, whose logits are compared.
        joined: gives so many media, where the projector joins the signals of each; `media` then makes signals of all.
        beside: gives the same media as signals of other branches, where the projector takes their features too.
    """

    build: Callable[[], PreTrainedModel]
    branch: str
    media: Callable[[int], tuple[Signal, list[int]]]
    inputs: Callable[[Signal], dict[str, Tensor]]
    placeholder: int
    exact: bool = True
    prefix: bool = False
    text: bool = False
    decoder: bool = False
    joined: Callable[[int], list[Medium]] | None = None
    beside: Callable[[int], dict[str, Signal]] | None = None


@dataclass(frozen=True)
class Pair:
    """A model of transformers, and ours that was imported from its folder."""

    case: Case
    theirs: PreTrainedModel
    ours: OmniModel
    folder: Path
    run: Path
    rows: Sequence[Sequence[int]] = field(default=ROWS)


def made(case: Case, at: Path) -> Pair:
    """Build, save and import a case."""
    torch.manual_seed(0)
    model = case.build().eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.numel() > 1 and bool((parameter == parameter.flatten()[0]).all()):  # a gate at zero hides its branch
                parameter += torch.randn_like(parameter) * 0.2
            elif parameter.dim() > 1:  # fresh weights are so small that a medium hardly changes a logit
                parameter.normal_(std=parameter[0].numel() ** -0.5)
    model.save_pretrained(at / "theirs")
    copyfile(TOKENIZER, at / "theirs" / "tokenizer.json")
    if case.text:
        (at / "theirs" / "qformer_tokenizer").mkdir()
        copyfile(TOKENIZER, at / "theirs" / "qformer_tokenizer" / "tokenizer.json")
    import_checkpoint("hf_model", {"folder": str(at / "theirs"), "template": "llama_3"}, at / "run")
    return Pair(case, model, load(str(at / "run")).model, at / "theirs", at / "run")


def batch_of(pair: Pair, signal: Signal, sizes: list[int], *, prompt: bool = False) -> Batch:
    """Give the rows as a collator does; of an encoder-decoder with their answers, unless it is a prompt."""
    answers = [answer if pair.case.decoder and not prompt else [] for answer in ANSWERS]
    branch, wired = pair.case.branch, pair.ours.plan.inputs[pair.case.branch]
    joined = pair.case.joined(media_count(pair)) if pair.case.joined else []
    counts = [wired.medium_length(medium) for medium in joined] or [wired.length(size) for size in sizes]
    signals = iter([medium.signals for medium in joined] or [1] * len(sizes))
    media, rows, slots, owners = iter(counts), [], [], []
    for number, row in enumerate(pair.rows):
        rows.append([])
        for token in row:
            count = next(media) if token == MEDIUM else 0
            slots += [(number, len(rows[-1]) + step) for step in range(count)]
            owners += [number] * (next(signals) if token == MEDIUM else 0)
            rows[-1] += [0] * count if token == MEDIUM else [token]
    starts = [len(row) for row in rows]
    rows = [row + answer for row, answer in zip(rows, answers, strict=True)]
    width = max(map(len, rows))
    lengths = torch.tensor([len(row) for row in rows])
    counted = torch.tensor([len(answer) for answer in answers])
    steps = torch.arange(int(counted.max()))
    positions = (torch.tensor(starts)[:, None] + steps) * (steps < counted[:, None])
    others = pair.case.beside(len(sizes)) if pair.case.beside else {}
    return Batch(torch.tensor([row + [0] * (width - len(row)) for row in rows]), lengths, positions, counted,
                 {branch: signal, **others}, {branch: torch.tensor([row * width + at for row, at in slots])},
                 {branch: counts, **{name: [0] * len(sizes) for name in others}},
                 dict.fromkeys((branch, *others), owners), {},
                 [f"row {number}" for number in range(len(rows))], sizes=dict.fromkeys((branch, *others), sizes),
                 instructions={branch: texts(len(sizes))} if pair.case.text else {},
                 media={branch: joined} if joined else {})


def texts(count: int) -> Targets:
    """Give ids of unequal length for so many signals."""
    ids = torch.randint(5, 600, (count, 7), generator=torch.Generator().manual_seed(5))
    lengths = torch.tensor([7 - 2 * (index % 2) for index in range(count)])
    return Targets(ids * (torch.arange(7) < lengths[:, None]), lengths)


def media_of(pair: Pair) -> tuple[Signal, list[int]]:
    """Give the signals of all rows."""
    return pair.case.media(media_count(pair))


def media_count(pair: Pair) -> int:
    """Give the media of all rows."""
    return sum(row.count(MEDIUM) for row in map(list, pair.rows))


def mask_of(batch: Batch, *, left: bool) -> Tensor:
    """Give what is valid [B, L] of rows padded on one side."""
    positions = torch.arange(batch.tokens.shape[1])
    return positions >= batch.tokens.shape[1] - batch.lengths[:, None] if left else positions < batch.lengths[:, None]


def moved(values: Tensor, batch: Batch) -> Tensor:
    """Give values [B, L, …] of rows padded on the right with the padding on the left."""
    return torch.stack([row.roll(row.shape[0] - int(length), 0) for row, length in zip(values, batch.lengths, strict=True)])


def their_inputs(pair: Pair, batch: Batch, *, left: bool = False) -> dict[str, Tensor]:
    """Give what transformers takes for a batch."""
    ids, branch = batch.tokens.clone(), pair.case.branch
    ids.view(-1)[batch.slots[branch]] = pair.case.placeholder
    mask = mask_of(batch, left=left)
    ids = moved(ids, batch) if left else ids
    signal = splice.normalised(batch.signals[branch], pair.ours.plan.inputs[branch].image_spec)
    types = {"token_type_ids": torch.zeros_like(ids)} if pair.case.prefix else {}
    return {"input_ids": ids, "attention_mask": mask.long(), **types, **_text(batch, branch), **pair.case.inputs(signal)}


def _text(batch: Batch, branch: str) -> dict[str, Tensor]:
    found = batch.instructions.get(branch)
    if found is None:
        return {}
    inside = torch.arange(found.ids.shape[1]) < found.lengths[:, None]
    return {"qformer_input_ids": found.ids, "qformer_attention_mask": inside.long()}


def their_logits(pair: Pair, batch: Batch, *, left: bool = False) -> Tensor:
    """Give transformers' logits at the valid positions, [S, V]."""
    if pair.case.decoder:
        return their_answers(pair, batch)
    inputs = their_inputs(pair, batch, left=left)
    mask = inputs["attention_mask"]
    found: Tensor = pair.theirs(**inputs, position_ids=(mask.cumsum(-1) - 1).clamp(min=0)).logits
    return found[mask.bool()]


def our_logits(pair: Pair, batch: Batch, *, left: bool = False) -> Tensor:
    """Give our logits at the valid positions, [S, V]."""
    taps, backbone, mask = Taps(pair.ours, batch), pair.ours.language_model(), mask_of(batch, left=left)
    if pair.case.decoder:
        return backbone.logits(decoded(pair, batch) if left else taps.point("backbone.predicts").data)[answered(batch)]
    whole = InputLayout(torch.full_like(batch.lengths, mask.shape[1]), torch.zeros_like(mask))
    layout = {"layout": whole} if pair.case.prefix else {}
    hidden = backbone(moved(taps.inputs, batch), mask, **layout) if left else taps.hidden
    return backbone.logits(hidden)[mask]


def answered(batch: Batch) -> Tensor:
    """Give which of the answers' positions [B, U] there are."""
    return torch.arange(batch.answers.shape[1]) < batch.answer_lengths[:, None]


def their_answers(pair: Pair, batch: Batch) -> Tensor:
    """Give transformers' logits of the answers, whose prompts go through the encoder, [S, V]."""
    fed = batch.tokens.gather(1, batch.answers).roll(1, 1)
    fed[:, 0] = START
    inputs = their_inputs(pair, prompts_of(batch))
    found: Tensor = pair.theirs(**inputs, decoder_input_ids=fed).logits
    return found[answered(batch)]


def prompts_of(batch: Batch) -> Batch:
    """Give the rows without their answers."""
    lengths = batch.answers[:, 0]
    width, rows = int(lengths.max()), torch.div(batch.slots[key := next(iter(batch.slots))], batch.tokens.shape[1],
                                                rounding_mode="floor")
    return replace(batch, tokens=batch.tokens[:, :width], lengths=lengths, answers=batch.answers[:, :0],
                   slots={key: batch.slots[key] - rows * (batch.tokens.shape[1] - width)})


def decoded(pair: Pair, batch: Batch) -> Tensor:
    """Give our hidden states [B, U, D] that predict the answers: prompts padded on the left, then token by token."""
    backbone, prompts = pair.ours.language_model(), prompts_of(batch)
    mask = mask_of(prompts, left=True)
    hidden, state = backbone.step(moved(Taps(pair.ours, prompts).inputs, prompts), mask, backbone.init_state(len(mask)))
    steps = [hidden[:, -1]]
    for token in batch.tokens.gather(1, batch.answers).T[:-1]:
        mask = torch.cat([mask, mask.new_ones(len(mask), 1)], 1)
        hidden, state = backbone.step(backbone.embed(token[:, None]), mask, state)
        steps.append(hidden[:, -1])
    return torch.stack(steps, 1)


def assert_equal(pair: Pair, ours: Tensor, theirs: Tensor) -> None:
    """Compare bit by bit where all modules are theirs; else by float32's rounding."""
    tolerance = 0.0 if pair.case.exact else 1e-5
    torch.testing.assert_close(ours, theirs, atol=tolerance, rtol=tolerance)


def other_medium(batch: Batch, branch: str, index: int) -> Batch:
    """Give the batch with one medium changed."""
    signal = batch.signals[branch]
    data = signal.data.clone()
    data[index] = data[index].flip(-1)
    return replace(batch, signals={**batch.signals, branch: Signal(data, signal.lengths)})


def without_media(batch: Batch) -> Batch:
    """Give the batch with no medium in the place of its slots."""
    return replace(batch, slots={}, signals={}, counts={}, rows={}, sizes={}, instructions={}, media={})


def gradients(model: torch.nn.Module, logits: Tensor) -> Mapping[str, Tensor]:
    """Give name → gradient of one step whose loss takes all logits."""
    model.zero_grad()
    targets = torch.arange(len(logits)) * 7 % logits.shape[1]
    torch.nn.functional.cross_entropy(logits, targets).backward()
    return {name: parameter.grad.clone() for name, parameter in model.named_parameters() if parameter.grad is not None}
