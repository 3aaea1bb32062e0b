"""Collate samples into a padded batch: tokens, embedding positions, signals, targets. Runs no model but the codec's encoder.

Every count follows from the contracts before the model runs, so a batch is exact and an error names its row.
"""

from collections.abc import Mapping, Sequence

import torch

from omnikit.contracts.codes import Code
from omnikit.contracts.configs import HeadConfig
from omnikit.contracts.media import Medium
from omnikit.contracts.optional import head_options
from omnikit.contracts.specs import Template
from omnikit.contracts.types import Batch, ContentPart, Sample, Targets
from omnikit.data.batch.codes import Codes, check_codebooks, code_targets
from omnikit.data.batch.collated_row import CollatedRow
from omnikit.data.batch.padding import joined_slots, pad
from omnikit.data.batch.signals import (
    SignalArray,
    answer_audio,
    as_medium,
    load_signals,
    load_waveform,
    media_texts,
    pad_signals,
    question_media,
    signal_length,
)
from omnikit.data.batch.tokenizers import check_tokenizer, transcript_tokenizer
from omnikit.data.batch.windows import target_count
from omnikit.data.text.spoken_text import SpokenTextEncoder, spoken_answers
from omnikit.data.text.templates import PADDING, answer_texts, prompt, render, turn_labels
from omnikit.data.text.text_segments import TextSegment
from omnikit.data.text.tokenise import encode
from omnikit.data.text.tokenizer import load
from omnikit.errors import DataError
from omnikit.plan.plan import InputBranch, Plan


class Collator:
    """Makes batches for some of a plan's output branches.

    Args:
        plan: the wiring; its tokenizer writes prompts and answers, a head's own (if it has one) writes transcripts.
        branches: output branches whose targets are made, and whose taps decide what is read of a sample.
        codes: branch → the encoder of the answers' waveforms; a branch without one takes the rows' codes.
        prompt_only: True makes no targets, and of a conversation renders the prompt only.

    Raises:
        ConfigError: the tokenizer fits neither the template nor the backbone.
    """

    def __init__(self, plan: Plan, branches: Sequence[str], codes: Mapping[str, Codes] | None = None, *,
                 prompt_only: bool = False) -> None:
        self.plan, self.codes, self.prompt_only = plan, codes or {}, prompt_only
        self.tokenizer = load(plan.tokenizer) if plan.tokenizer else None
        check_tokenizer(plan, self.tokenizer)
        self.branches = () if prompt_only else tuple(branches)
        outputs = [plan.outputs[name] for name in branches]
        taps = {output.head.tap for output in outputs}
        self.uses_backbone = any(output.needs_hidden for output in outputs)
        self.spoken_text = {output.name: SpokenTextEncoder(output, self.tokenizer) for output in outputs
                      if output.reads_text and self.tokenizer and not prompt_only}
        self.instructions = {name: load(reference) for name, branch in plan.inputs.items()
                             if (reference := branch.instruction_tokenizer)}
        fed = {name for branch in plan.inputs.values() for name in branch.readers(taps)}
        self.input_branches = [branch for name, branch in plan.inputs.items() if self.uses_backbone or name in fed]

    def __call__(self, samples: Sequence[Sample]) -> Batch:
        """Make one batch; raises DataError naming the row that does not fit."""
        rows = [self.row(sample) for sample in samples]
        targets = {name: found for name in self.branches if (found := self._targets(name, samples, rows))}
        for name in self.branches:
            if self.plan.outputs[name].feeds and name in targets:
                self._extend(name, rows, targets[name].lengths.tolist())
        length = max((len(row.tokens) for row in rows), default=0)
        sequences = rows if self.uses_backbone else []
        branches = [input_branch.name for input_branch in self.input_branches
                    if any(row.signals[input_branch.name] for row in rows)]
        return Batch(
            tokens=pad([row.tokens for row in sequences], 0),
            lengths=torch.tensor([len(row.tokens) for row in sequences], dtype=torch.int64),
            answers=pad([row.answers for row in sequences], 0),
            answer_lengths=torch.tensor([len(row.answers) for row in sequences], dtype=torch.int64),
            signals={name: pad_signals([item for row in rows for item in row.signals[name]]) for name in branches},
            slots={name: joined_slots([row.slots[name] for row in rows], length) for name in branches
                   if self.uses_backbone and self.plan.inputs[name].is_spliced},
            counts={name: [count for row in rows for count in row.counts[name]] for name in branches},
            rows={name: [index for index, row in enumerate(rows) for _ in row.signals[name]] for name in branches},
            targets=targets,
            ids=[row.id for row in rows],
            texts={name: _as_targets([ids for sample in samples for ids in self._spoken(name, sample)], 0)
                   for name in self.spoken_text},
            sizes={name: [signal_length(item) for row in rows for item in row.signals[name]] for name in branches},
            starts={name: [start for row in rows for start in row.starts[name]] for name in branches
                    if any(row.starts[name] for row in rows)},
            instructions={name: _as_targets([ids for row in rows for ids in row.instructions[name]], 0) for name in branches
                          if name in self.instructions},
            media={name: [medium for row in rows for medium in row.joined[name]] for name in branches
                   if any(row.joined[name] for row in rows)},
            target_counts={name: target_count(self.plan.outputs[name].head, each) for name, each in targets.items()},
        )

    # ---- one sample ----

    def row(self, sample: Sample) -> CollatedRow:
        """Give one sample before padding; raises DataError where it does not fit."""
        row = CollatedRow(sample.id, texts=media_texts(sample) if self.instructions else {})
        if not self.uses_backbone:
            for part in question_media(sample):
                self._add_medium(row, part)
            return row
        assert self.plan.template and self.plan.backbone and self.tokenizer, "a plan with a backbone has all three"
        for span in encode(self._segments(sample, self.plan.template), self.plan.template, self.tokenizer):
            if span.mismatch and not self.prompt_only:
                raise DataError(f"Row {sample.id}: {span.mismatch}", kind="merged token")
            if span.media:
                self._add_medium(row, span.media)
            row.spans.append(span)
            row.answers.extend(len(row.tokens) + index for index, supervised in enumerate(span.supervised) if supervised)
            row.tokens.extend(span.ids)
        self._check(row, sample, self.plan.backbone.context)
        return row

    def _segments(self, sample: Sample, template: Template) -> list[TextSegment]:
        try:
            return (prompt if self.prompt_only else render)(sample.messages, template)
        except DataError as error:
            raise DataError(f"Row {sample.id}: {error}", kind=error.kind) from error

    def _add_medium(self, row: CollatedRow, part: ContentPart) -> None:
        """Put a media part's signals into the branches that read it, and reserve their positions one behind another."""
        readers = [input_branch for input_branch in self.input_branches if part.type in input_branch.media]
        if not readers and self.uses_backbone:
            raise DataError(f"Row {row.id} holds {part.type} in a question, but the recipe has no input branch for"
                            f" {part.type}; add one or leave the row out.", kind="no branch")
        if readers:
            start = len(row.tokens)
            row.media.append(tuple((reader.name, self._add_signals(row, part, reader, start)) for reader in readers))

    def _add_signals(self, row: CollatedRow, part: ContentPart, input_branch: InputBranch, start: int) -> int:
        """Add a part, which so many positions stand before, to one branch; gives the number of its signals there."""
        items = load_signals(part, input_branch, row.id, self.plan.recipe.media)
        counts = self._counts(input_branch, part, items, row)
        row.signals[input_branch.name].extend(items)
        row.transcripts[input_branch.name].extend([part.text] * len(items))
        if self.uses_backbone and not input_branch.is_spliced:
            counts = [0] * len(counts)
            row.starts[input_branch.name].extend([start] * len(counts))
        row.counts[input_branch.name].extend(counts)
        if input_branch.name in self.instructions:
            ids = self.instructions[input_branch.name].ids(row.texts[id(part)], special=True)
            row.instructions[input_branch.name].extend([ids] * len(counts))
        if self.uses_backbone:
            row.slots[input_branch.name].extend(range(len(row.tokens), len(row.tokens) + sum(counts)))
            row.tokens.extend([0] * sum(counts))
        return len(items)

    def _counts(self, input_branch: InputBranch, part: ContentPart, items: Sequence[SignalArray],
                row: CollatedRow) -> list[int]:
        """Give the vectors of each signal of a part, or of all of it where its signals are joined."""
        if input_branch.joins_media and self.uses_backbone:
            medium = as_medium(part, input_branch.image_spec, len(items), self.plan.recipe.media)
            row.joined[input_branch.name].append(medium)
            return [self._count(input_branch, items[0], row.id, medium)]
        counts = [self._count(input_branch, item, row.id) for item in items]
        if part.type == "video" and input_branch.image_spec and self.uses_backbone:
            return [input_branch.image_spec.frame_count(frame, count) for frame, count in enumerate(counts)]
        return counts

    def _count(self, input_branch: InputBranch, item: SignalArray, row: str, medium: Medium | None = None) -> int:
        samples, length = signal_length(item), input_branch.length if self.uses_backbone else input_branch.encoder.length
        try:
            count = input_branch.medium_length(medium, samples) if medium else length(samples)
        except (ValueError, DataError) as error:
            raise DataError(f"Row {row}: {input_branch.name} cannot take {samples} samples: {error}",
                            kind="wrong length") from error
        if count < 1:
            raise DataError(f"Row {row}: {input_branch.name} of {samples} samples is too short, it gives no frame;"
                            " leave it out.", kind="wrong length")
        return count

    def _check(self, row: CollatedRow, sample: Sample, context: int) -> None:
        if len(row.tokens) > context:
            raise DataError(f"Row {row.id} has {len(row.tokens)} positions, but the backbone's context is {context};"
                            " shorten the row or choose a backbone with a longer context.", kind="too long")
        if self.prompt_only:
            return
        answers = answer_texts(sample.messages)
        if not answers or not all(answer.strip() for answer in answers):
            raise DataError(f"Row {row.id} has an empty answer, which gives no target; give it a text.",
                            kind="empty answer")
        if not row.answers or row.answers[0] == 0:
            raise DataError(f"Row {row.id} begins with its answer, but something must come before; add a question.",
                            kind="no question")

    # ---- targets ----

    def _targets(self, name: str, samples: Sequence[Sample], rows: list[CollatedRow]) -> Targets | None:
        head = self.plan.outputs[name].head
        if head.target == "tokens":
            found = [[row.tokens[position] for position in row.answers] for row in rows]
        elif head.target == "codes":
            return self._code_targets(name, samples, rows)
        elif head.target == "state":
            found = [[label] for sample in samples for label in turn_labels(sample.messages)]
            found = found if any(label != PADDING for label, in found) else []
        else:
            branch, _, slot = head.tap.partition(".")
            found = [self._transcript(name, row, text) for row in rows for text in row.transcripts[branch]]
            input_branch = self.plan.inputs[branch]
            length = input_branch.length if slot == "projector" else input_branch.encoder.length
            _check_reachable(name, head, [(row.id, length(signal_length(item))) for row in rows
                                          for item in row.signals[branch]], found)
        if not found:
            return None
        return _as_targets(found, PADDING)

    def _code_targets(self, name: str, samples: Sequence[Sample], rows: list[CollatedRow]) -> Targets | None:
        """Give codes [B, U, Q]."""
        found = [self._codes(name, parts, row) for sample in samples for parts, row in self._answer_audio(name, sample)]
        if self.uses_backbone and name not in self.spoken_text:
            _check_reachable(name, self.plan.outputs[name].head, [(row.id, len(row.answers)) for row in rows],
                             [[code[0] for code in codes] for codes in found])
        return code_targets(found, PADDING) if found else None

    def _extend(self, name: str, rows: Sequence[CollatedRow], frames: Sequence[int]) -> None:
        """Repeat the last token of each row's answer, without supervision, for the steps in which codes are still emitted."""
        assert self.plan.backbone, "such a branch taps it"
        for row, count in zip(rows, frames, strict=True):
            first, last = row.answers[0], row.answers[-1]
            if last - first + 1 != len(row.answers):
                raise DataError(f"Row {row.id} has several answers, but the codes of branch {name} are read by the backbone,"
                                " which is trained on rows of one answer; cut the conversation.", kind="several answers")
            needed = first - 1 + self.plan.outputs[name].steps(count)  # the last step's codes are read by none
            row.tokens[last + 1:] = [row.tokens[last]] * max(0, needed - last - 1)
            if len(row.tokens) > self.plan.backbone.context:
                raise DataError(f"Row {row.id} has {len(row.tokens)} positions with the steps of branch {name}'s codes, but the"
                                f" backbone's context is {self.plan.backbone.context}; shorten its answer.", kind="too long")

    def _spoken(self, name: str, sample: Sample) -> list[list[int]]:
        """Give the ids of the words of each spoken answer."""
        found = self.spoken_text[name](sample)
        if not all(found):
            raise DataError(f"Row {sample.id} has an answer with nothing to speak, but branch {name} is trained on it; give it"
                            " a text, or leave the row out.", kind="empty answer")
        return found

    def _answer_audio(self, name: str, sample: Sample) -> list[tuple[list[ContentPart], str]]:
        """Give the audio that a target is made of, with the row's name: of each answer alone for heads that read text."""
        if name not in self.spoken_text:
            return [(answer_audio(sample), sample.id)]
        return [(parts, sample.id) for _, parts in spoken_answers(sample)] or [([], sample.id)]

    def _codes(self, name: str, parts: Sequence[ContentPart], row: str) -> list[Code]:
        found: list[Code] = []
        for part in parts:
            if part.codes is not None:
                found.extend(part.codes)
            elif name in self.codes:
                found.extend(self.codes[name](load_waveform(part, self.codes[name].sample_rate, row, self.plan.recipe.media)))
        check_codebooks(found, self.plan.outputs[name].codes, f"{name}.codec", row)
        if not found:
            raise DataError(f"Row {row} has no speech in its answer, but branch {name} is trained on it;"
                            " give it audio or codes, or leave the row out.", kind="no speech")
        return found

    def _transcript(self, name: str, row: CollatedRow, text: str | None) -> list[int]:
        tokenizer = transcript_tokenizer(self.plan, name)
        if text is None or tokenizer is None:
            medium, missing = (("image", "caption") if self.plan.outputs[name].head.target == "caption"
                               else ("audio", "transcript"))
            raise DataError(f"Row {row.id} has no {missing} of its {medium}, but branch {name} is trained on it;"
                            f" give the {medium} part a text.", kind=f"no {missing}")
        # a word is the same token wherever it stands; silence has none
        return tokenizer.ids(f" {text.strip()}") if text.strip() else []


def _check_reachable(branch: str, head: HeadConfig, frames: Sequence[tuple[str, int]],
                     targets: Sequence[Sequence[int]]) -> None:
    """Refuse a target that a head could never give from so many frames, where the head can compute that; names the row."""
    unreachable = head_options(head).unreachable
    for (row, count), ids in zip(frames, targets, strict=True):
        reason = unreachable(count, ids) if unreachable else None
        if reason:
            raise DataError(f"Row {row} cannot be learned by branch {branch}: {reason}.", kind="unreachable target")


def _as_targets(rows: Sequence[Sequence[int]], filler: int) -> Targets:
    return Targets(pad(rows, filler), torch.tensor([len(ids) for ids in rows], dtype=torch.int64))


def to_device(batch: Batch, device: torch.device) -> Batch:
    """Give the batch on another device; the same batch if it is there already."""
    return batch if batch.tokens.device == device else batch.mapped(lambda tensor: tensor.to(device, non_blocking=True))
