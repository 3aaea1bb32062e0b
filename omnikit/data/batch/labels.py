"""Whether rows hold any target: checked before a stage begins, so that no step is spent on nothing. Reads no media."""

from collections.abc import Collection, Iterator, Mapping

from omnikit.contracts.protocols import Reader
from omnikit.contracts.types import Sample
from omnikit.data.batch.signals import answer_audio, question_media
from omnikit.data.text.templates import PADDING, answer_texts, turn_labels
from omnikit.errors import DataError
from omnikit.plan.plan import OutputBranch, Plan

NEEDS = {"tokens": "a text in its answers", "codes": "codes or audio in its answers",
         "transcript": "audio in its questions with its transcript",
         "caption": "images in its questions with their captions",
         "state": "audio in a question with an answer behind it"}


def check_supervised(stage: str, plan: Plan, branches: Collection[str], readers: Mapping[str, Reader]) -> None:
    """Make sure that every branch has a target in some row, that some row of every dataset has a target, and that there is a
    row with the medium of each input branch of which a part is trained.

    Rows are read until one is found, so that this takes no time where there is a target.

    Raises:
        DataError: one sentence for each branch and each dataset with nothing.
    """
    outputs = [plan.outputs[name] for name in branches]
    sentences = []
    for output in outputs:
        if not _any_target([output], readers):
            sentences.append(f"Stage {stage}: branch {output.name} would not be trained, because no row of {_sizes(readers)}"
                             f" has {NEEDS[output.head.target]}; give the rows that, or drop"
                             f" stages.{stage}.loss.{output.name}.")
    for name, reader in readers.items():
        if not sentences and not _any_target(outputs, {name: reader}):
            needs = " or ".join(dict.fromkeys(NEEDS[output.head.target] for output in outputs))
            sentences.append(f"Stage {stage}: nothing of {_sizes({name: reader})} would be used by branch"
                             f" {' or '.join(branches)}, because no row has {needs}; give the rows that, or drop"
                             f" stages.{stage}.data.{name}.")
    if not sentences:
        sentences += _untrained_inputs(stage, plan, outputs, readers)
    if sentences:
        raise DataError(*sentences)


def has_target(output: OutputBranch, sample: Sample) -> bool:
    """Give whether a sample has a target for a branch."""
    if output.head.target == "tokens":
        return any(answer.strip() for answer in answer_texts(sample.messages))
    if output.head.target == "codes":
        parts = answer_audio(sample)
        return any(part.codes for part in parts) or bool(output.code_source and parts)
    if output.head.target == "state":
        return any(label != PADDING for label in turn_labels(sample.messages))
    media = ("image", "video") if output.head.target == "caption" else ("audio",)
    return any(part.type in media and (part.text or "").strip() for part in question_media(sample))


def _untrained_inputs(stage: str, plan: Plan, outputs: Collection[OutputBranch], readers: Mapping[str, Reader]) -> list[str]:
    """Give a sentence for each input branch of which a part is trained and whose medium no row with a target has."""
    sentences = []
    for name, branch in plan.inputs.items():
        trained = [part for part in plan.stages[stage].trained if part.partition(".")[0] == name]
        with_medium = (sample for sample in _interleaved(readers)
                       if any(part.type in branch.media for part in question_media(sample)))
        if trained and not any(has_target(output, sample) for sample in with_medium for output in outputs):
            sentences.append(f"Stage {stage}: {', '.join(trained)} would not be trained, because no row of {_sizes(readers)}"
                             f" has {' or '.join(branch.media)} in its questions and a target in its answer; give the rows"
                             " that, or train another part.")
    return sentences


def _any_target(outputs: Collection[OutputBranch], readers: Mapping[str, Reader]) -> bool:
    return any(has_target(output, sample) for sample in _interleaved(readers) for output in outputs)


def _interleaved(readers: Mapping[str, Reader]) -> Iterator[Sample]:
    """Give the datasets' rows one from each in turn: a dataset without targets does not have to be read to its end first."""
    longest = max(map(len, readers.values()), default=0)
    return (reader[index] for index in range(longest) for reader in readers.values() if index < len(reader))


def _sizes(readers: Mapping[str, Reader]) -> str:
    return " or ".join(f"dataset {name} ({len(reader)} rows)" for name, reader in readers.items())
