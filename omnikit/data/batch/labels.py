"""Whether rows hold anything to learn: asked before a stage begins, so that no step is spent on nothing. Reads no media."""

from collections.abc import Collection, Iterator, Mapping

from omnikit.contracts.protocols import Reader
from omnikit.contracts.types import Sample
from omnikit.data.batch.signals import questions, spoken
from omnikit.data.text.templates import PADDING, labels, said
from omnikit.errors import DataError
from omnikit.plan.plan import OutputBranch, Plan

NEEDS = {"tokens": "a text in its answers", "codes": "codes or sound in its answers",
         "transcript": "audio in its questions with the text of what it says",
         "caption": "images in its questions with the text of what they show",
         "state": "audio in a question with an answer behind it"}


def check_supervised(stage: str, plan: Plan, wanted: Collection[str], readers: Mapping[str, Reader]) -> None:
    """Make sure that every wanted branch learns from some row, that some row of every dataset is learnt from, and that a stage
    that trains input branches only has a row with such a medium.

    Rows are read until one is found, so that this takes no time where there is something to learn.

    Raises:
        DataError: one sentence for each branch and each dataset with nothing.
    """
    outputs = [plan.outputs[name] for name in wanted]
    sentences = []
    for output in outputs:
        if not _found([output], readers):
            sentences.append(f"Stage {stage}: branch {output.name} would learn nothing, because no row of {_sizes(readers)}"
                             f" has {NEEDS[output.head.target]}; give the rows that, or drop"
                             f" stages.{stage}.loss.{output.name}.")
    for name, reader in readers.items():
        if not sentences and not _found(outputs, {name: reader}):
            needs = " or ".join(dict.fromkeys(NEEDS[output.head.target] for output in outputs))
            sentences.append(f"Stage {stage}: nothing of {_sizes({name: reader})} would be learnt by branch"
                             f" {' or '.join(wanted)}, because no row has {needs}; give the rows that, or drop"
                             f" stages.{stage}.data.{name}.")
    if not sentences:
        sentences += _unreached(stage, plan, outputs, readers)
    if sentences:
        raise DataError(*sentences)


def teaches(output: OutputBranch, sample: Sample) -> bool:
    """Say whether a branch has anything to learn from a sample."""
    if output.head.target == "tokens":
        return any(answer.strip() for answer in said(sample.messages))
    if output.head.target == "codes":
        parts = spoken(sample)
        return any(part.codes for part in parts) or bool(output.code_source and parts)
    if output.head.target == "state":
        return any(label != PADDING for label in labels(sample.messages))
    media = ("image", "video") if output.head.target == "caption" else ("audio",)
    return any(part.type in media and (part.text or "").strip() for part in questions(sample))


def _unreached(stage: str, plan: Plan, outputs: Collection[OutputBranch], readers: Mapping[str, Reader]) -> list[str]:
    trained = plan.stages[stage].trained
    branches = {part.partition(".")[0] for part in trained}
    if not branches <= set(plan.inputs):
        return []
    media = sorted({kind for branch in branches for kind in plan.inputs[branch].media})
    if any(teaches(output, sample) for sample in _turns(readers) if any(part.type in media for part in questions(sample))
           for output in outputs):
        return []
    return [f"Stage {stage}: {', '.join(trained)} would learn nothing, because no row of {_sizes(readers)} has"
            f" {' or '.join(media)} in its questions and something to learn in its answer; give the rows that, or train another"
            " part."]


def _found(outputs: Collection[OutputBranch], readers: Mapping[str, Reader]) -> bool:
    return any(teaches(output, sample) for sample in _turns(readers) for output in outputs)


def _turns(readers: Mapping[str, Reader]) -> Iterator[Sample]:
    """Give the datasets' rows in turns: a dataset without any does not have to be read to its end first."""
    longest = max(map(len, readers.values()), default=0)
    return (reader[index] for index in range(longest) for reader in readers.values() if index < len(reader))


def _sizes(readers: Mapping[str, Reader]) -> str:
    return " or ".join(f"dataset {name} ({len(reader)} rows)" for name, reader in readers.items())
