# ruff: noqa: E501  # a row and its refusal stand in one line
"""A stage that would learn nothing is refused before it begins, naming branch and dataset."""

from dataclasses import replace
from pathlib import Path

import pytest
from doubles import EchoDataset, EchoReader, make_plan, write_tokenizer

from omnikit.contracts.protocols import Reader
from omnikit.contracts.types import ContentPart, Message, Sample
from omnikit.data.batch.labels import check_supervised
from omnikit.errors import DataError
from omnikit.plan.plan import Plan
from omnikit.training.stage import run_stages


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    return make_plan(write_tokenizer(tmp_path))


class Rows:
    """Rows at hand, which counts how many were asked for."""

    def __init__(self, *samples: Sample) -> None:
        self.samples, self.asked = samples, 0

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> Sample:
        self.asked += 1
        return self.samples[index]


def row(question: ContentPart, *answer: ContentPart) -> Sample:
    return Sample("r", (Message("user", (question,)), Message("assistant", answer)))


TEXT, SPOKEN_WORD = ContentPart("text", text="one"), ContentPart("audio", text="one", path="a.wav")
WRITTEN, SPOKEN, WORDLESS = row(TEXT, TEXT), row(SPOKEN_WORD, TEXT, SPOKEN_WORD), row(replace(SPOKEN_WORD, text=" "), ContentPart("text", text=" "))


def refused(plan: Plan, wanted: list[str], **readers: Reader) -> str:
    with pytest.raises(DataError) as caught:
        check_supervised("understand", plan, wanted, readers)
    return str(caught.value)


def test_branch_that_no_row_teaches_is_named_with_the_datasets(plan: Plan) -> None:
    assert refused(plan, ["text", "transcript"], a=Rows(WRITTEN, WRITTEN), b=Rows(WRITTEN)) == (
        "Stage understand: branch transcript would not be trained, because no row of dataset a (2 rows) or dataset b (1 rows) has"
        " audio in its questions with its transcript; give the rows that, or drop stages.understand.loss.transcript.")


def test_dataset_that_teaches_no_branch_is_named(plan: Plan) -> None:
    assert refused(plan, ["transcript"], a=Rows(SPOKEN), b=Rows(WRITTEN)) == (
        "Stage understand: nothing of dataset b (1 rows) would be used by branch transcript, because no row has audio in its"
        " questions with its transcript; give the rows that, or drop stages.understand.data.b.")


@pytest.mark.parametrize(("branch", "need"), [("text", "has a text in its answers"), ("speech", "has codes or audio in its answers"),
                                              ("transcript", "has audio in its questions with its transcript")])
def test_words_that_are_empty_teach_nothing(plan: Plan, branch: str, need: str) -> None:
    assert need in refused(plan, [branch], a=Rows(WORDLESS))


def test_mixture_in_which_each_dataset_has_a_target_is_accepted(plan: Plan) -> None:
    check_supervised("understand", plan, ["text", "transcript", "speech"], {"a": Rows(WRITTEN), "b": Rows(SPOKEN)})


def test_audio_gives_codes_only_where_a_codec_encodes_it(plan: Plan) -> None:
    plan.outputs["speech"] = replace(plan.outputs["speech"], codec=replace(plan.outputs["speech"].codec, encodes=False))
    assert "codes or audio in its answers" in refused(plan, ["speech"], a=Rows(SPOKEN))
    check_supervised("speak", plan, ["speech"], {"a": Rows(row(SPOKEN_WORD, TEXT, replace(SPOKEN_WORD, codes=((1,), (2,)))))})


def test_only_as_many_rows_are_read_as_it_takes(plan: Plan) -> None:
    written, spoken = Rows(*[WRITTEN] * 1000), Rows(*[SPOKEN] * 1000)
    check_supervised("understand", plan, ["text", "transcript"], {"a": written, "b": spoken})
    assert written.asked + spoken.asked < 10


def test_training_ends_before_a_stage_s_folder_is_made(tmp_path: Path) -> None:
    plan = make_plan(write_tokenizer(tmp_path), echo=EchoDataset(textual=1))
    assert isinstance(plan.readers["echo"].build(), EchoReader)
    with pytest.raises(DataError, match=r"Stage listen: branch transcript would not be trained, because no row of dataset echo"):
        run_stages(plan, tmp_path / "run", "")
    assert not (tmp_path / "run").exists()
