"""Scoring a run of doubles."""

import json
import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import soundfile
from doubles import EchoDataset, EchoReader, make_asr, make_plan, write_tokenizer

from omnikit.commands.eval import changes_table, omegas, run, table
from omnikit.contracts.types import ContentPart, Message, Sample
from omnikit.data.batch.signals import question_media
from omnikit.errors import ConfigError, PlanError, RunError
from omnikit.evaluation import score as scoring
from omnikit.evaluation.ablations import shuffled_audio
from omnikit.evaluation.changes import changes
from omnikit.evaluation.runner import spread, stratified
from omnikit.evaluation.score import Options, read_report, rescore, score
from omnikit.recipe.answers import Evaluate
from omnikit.store.runs import find
from omnikit.training.stage import run_stages


def row(question: str, answer: str = "yes") -> Sample:
    asked = ContentPart("audio", text=question, path=f"{question}.wav")
    return Sample(question, (Message("user", (asked,)), Message("assistant", (ContentPart("text", text=answer),))))


def test_shuffled_audio_is_another_question_s_for_every_row() -> None:
    samples = [row("a"), row("a"), row("b"), row("b")]
    texts = [question_media(sample)[0].text for sample in shuffled_audio(samples) if sample]
    assert texts == ["b", "b", "a", "a"]


def test_row_that_cannot_change_is_left_out() -> None:
    samples = [row("a"), row("a"), row("a"), row("b")]
    assert [sample is None for sample in shuffled_audio(samples)].count(True) == 2


def test_row_without_audio_is_left_out() -> None:
    text = Sample("t", (Message("user", (ContentPart("text", text="hi"),)),
                        Message("assistant", (ContentPart("text", text="yes"),))))
    assert shuffled_audio([text, row("a"), row("b")])[0] is None


@pytest.mark.parametrize(("length", "limit", "expected"), [(4, None, [0, 1, 2, 3]), (4, 9, [0, 1, 2, 3]), (9, 3, [0, 4, 8]),
                                                           (8, 3, [0, 3, 5])])
def test_limit_is_spread_over_the_rows(length: int, limit: int | None, expected: list[int]) -> None:
    assert spread(length, limit) == expected


def test_limit_meets_kinds_that_alternate() -> None:
    assert {index % 6 for index in spread(300, 30)} == set(range(6))


@pytest.mark.parametrize("limit", [6, 12, 30])
def test_limit_meets_every_kind_as_often(limit: int) -> None:
    kinds = [str(index * 7 % 13 % 6) for index in range(300)]
    found = stratified(kinds, limit)
    assert set(Counter(kinds[index] for index in found).values()) == {limit // 6}
    assert found == sorted(set(found))


def test_limit_takes_a_rare_kind_whole_and_the_rest_of_the_others() -> None:
    kinds = ["rare" if index in (3, 50) else "often" for index in range(60)]
    assert Counter(kinds[index] for index in stratified(kinds, 20)) == {"rare": 2, "often": 18}
    assert stratified(kinds, None) == stratified(kinds, 99) == list(range(60)) and stratified(kinds, 0) == []


class Scored:
    """A trained run of doubles, its ASR model, and what scoring gave."""

    def __init__(self, folder: Path) -> None:
        tokenizer = write_tokenizer(folder)
        self.plans = {"model": make_plan(tokenizer, steps=300), "asr": make_asr(tokenizer, steps=150)}
        self.model, self.asr = folder / "model", folder / "asr"
        for name, plan in self.plans.items():
            run_stages(plan, folder / name, "")
        self.folder, self.report = self.score(asr=self.asr, limit=32, batch_size=7, latency_rows=3, omegas=(1, 4),
                                            keep_wavs=True)
        self.numbers = self.report["scores"]["echo"]["numbers"]

    def score(self, **options: object) -> tuple[Path, dict[str, Any]]:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(scoring, "load_plan", lambda path: self.plans[find(path).name])  # doubles are not installed
            return score(self.model, Options(**options))  # type: ignore[arg-type]  # fields by name


@pytest.fixture(scope="module")
def scored(tmp_path_factory: pytest.TempPathFactory) -> Scored:
    return Scored(tmp_path_factory.mktemp("scored"))


def test_trained_run_is_right_because_of_the_audio(scored: Scored) -> None:
    assert scored.report["scores"]["echo"]["rows"] == 32
    assert scored.numbers["exact"]["value"] > 0.9 and scored.numbers["shuffled_audio"]["value"] == 0.0
    assert scored.numbers["ground_truth_wer"]["value"] < 0.05


def test_speech_has_the_rate_of_its_codec(scored: Scored) -> None:
    assert scored.numbers["codes_per_second"]["value"] == pytest.approx(20, rel=0.01)  # a code is 5 samples of 100 a second
    assert scored.numbers["ground_truth_words_per_second"]["value"] == pytest.approx(20)  # and a word is one code


def test_answers_numbers_and_audio_are_saved(scored: Scored) -> None:
    lines = [json.loads(line) for line in (scored.folder / "echo.jsonl").read_text().splitlines()]
    reader = EchoReader(EchoDataset())
    assert [line["id"] for line in lines] == [reader[8 * i + kind].id for i in (0, 3, 4, 7) for kind in range(8)]
    assert json.loads((scored.folder / "report.json").read_text()) == scored.report
    assert {path.name for path in scored.folder.iterdir()} == {
        "report.html", "report.json", "conditions.json", "echo.jsonl", "latency.jsonl", "wavs"}
    spoken = next(line for line in lines if line["codes"])
    assert soundfile.info(scored.folder / spoken["wav"]).frames == round(spoken["seconds"] * 100)


def test_conditions_name_the_run_and_the_asr_model(scored: Scored) -> None:
    [conditions] = scored.report["conditions"].values()
    assert conditions["asr"]["recipe"] == "doubles/asr" and conditions["recipe"] == "doubles/tiny"
    assert len(conditions["asr"]["weights"]) == len(conditions["weights"]) == 16
    assert conditions["limit"] == 32 and conditions["seed"] == 0 and conditions["decoding"]["temperature"] == 0.0
    assert conditions["latency"]["omegas"] == [1, 4]
    counts = {name: one["total_time"]["count"] for name, one in scored.report["latency"].items()}
    assert counts == {"1": 3, "4": 3, "offline": 3}


def test_rescored_without_the_model_the_numbers_are_the_same_bytes(scored: Scored, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    for folder in (scored.model / "speak", scored.folder):
        shutil.copytree(folder, copy / folder.name, ignore=shutil.ignore_patterns("report.*", "weights*"))
    found, _ = rescore(copy)
    for name in ("report.json", "report.html"):
        assert (found / name).read_bytes() == (scored.folder / name).read_bytes()


def test_rescoring_a_run_that_was_not_scored_is_one_sentence(scored: Scored) -> None:
    with pytest.raises(RunError, match="there are no saved answers to score again"):
        rescore(scored.asr)


def test_interrupted_scoring_keeps_what_is_complete_with_its_conditions(scored: Scored, tmp_path: Path) -> None:
    copy = tmp_path / "model"
    shutil.copytree(scored.model, copy)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scoring, "load_plan", lambda path: scored.plans["model"])
        patch.setattr(scoring, "measure", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            score(copy, Options(limit=4))
    _, report = rescore(copy)
    assert report["scores"]["echo"]["rows"] == 4 and report["latency"] == scored.report["latency"]
    ids = [report["scores"]["echo"]["conditions"], report["latency"]["offline"]["ttft"]["conditions"]]
    assert [report["conditions"][name]["limit"] for name in ids] == [4, 32]


def test_interrupted_answers_leave_no_records(scored: Scored, tmp_path: Path) -> None:
    copy = tmp_path / "model"
    shutil.copytree(scored.model, copy)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scoring, "load_plan", lambda path: scored.plans["model"])
        patch.setattr(scoring.EvalRunner, "records", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            score(copy, Options(limit=4))
    _, report = rescore(copy)
    assert report["scores"] == {} and not (copy / "eval" / "echo.jsonl").exists()


def test_units_that_do_not_decode_are_refused(scored: Scored) -> None:
    with pytest.raises(PlanError, match=r"doubles/tiny has no speech\.units that decode, so --speak-with units is impossible"):
        scored.score(speaks_with="units", limit=2)


def test_dataset_that_would_take_the_timings_file_is_refused(scored: Scored) -> None:
    plan = scored.plans["model"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(scored.plans, "model", replace(plan, recipe=replace(plan.recipe, evaluate=Evaluate({"latency": "echo"}))))
        with pytest.raises(PlanError, match=r"has evaluate\.data\.latency, but latency\.jsonl holds the timings"):
            scored.score(limit=2)


def test_run_that_evaluates_on_nothing_is_refused(scored: Scored) -> None:
    plan = scored.plans["model"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(scored.plans, "model", replace(plan, recipe=replace(plan.recipe, evaluate=Evaluate())))
        with pytest.raises(PlanError, match="names no data under `evaluate`, so there is nothing to score; name a file"):
            scored.score(limit=2)


def test_run_is_scored_as_it_was_after_a_stage_and_compared(scored: Scored) -> None:
    folder, before = scored.score(stage="listen", limit=32, latency_rows=0)
    assert folder == scored.model / "eval_after_listen" and before["scores"]["echo"]["numbers"]["exact"]["value"] == 0.0
    [conditions], [last] = before["conditions"].values(), scored.report["conditions"].values()
    assert conditions["after_stage"] == "listen" and conditions["weights"] != last["weights"]
    assert read_report(scored.model, "listen") == before
    difference = 100 * scored.numbers["exact"]["value"]
    assert f"+{difference:.1f}" in changes_table(changes(scored.report, before), "listen").splitlines()[1]


def test_transcripts_of_questions_are_scored(scored: Scored) -> None:
    assert scored.numbers["transcript_wer"]["value"] < 0.1 and scored.numbers["transcript_wer"]["count"] == 32


def test_run_that_only_transcribes_is_scored_on_that(scored: Scored) -> None:
    plan = scored.plans["asr"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(scored.plans, "asr", replace(plan, recipe=replace(plan.recipe, evaluate=Evaluate({"echo": "echo"}))))
        patch.setattr(scoring, "load_plan", lambda path: scored.plans[find(path).name])
        _, report = score(scored.asr, Options(limit=8))
    found = report["scores"]["echo"]["numbers"]
    assert found["exact"] is None and found["transcript_wer"]["value"] < 0.1 and report["latency"] == {}


def test_stage_that_was_not_scored_cannot_be_compared_with(scored: Scored) -> None:
    with pytest.raises(RunError, match="holds no answers after stage units, so nothing can be compared with them; score it"):
        read_report(scored.model, "units")


def test_title_that_the_recipe_does_not_evaluate_is_refused(scored: Scored) -> None:
    with pytest.raises(PlanError, match=r"doubles/tiny has no evaluate\.data\.ecco\. Did you mean 'echo'\? Titles: echo\."):
        scored.score(data=("ecco",))


def test_table_shows_the_asr_model_s_own_errors_beside_those_of_the_speech(scored: Scored) -> None:
    text = table(scored.report)
    for name in ("exact", "speech_wer", "speech_cer", "ground_truth_wer", "ground_truth_cer"):
        assert f"{100 * scored.numbers[name]['value']:.1f} %" in text
    assert "Time to first audio" in text and "offline" in text


def test_report_is_computed_again_by_the_command(scored: Scored, capsys: pytest.CaptureFixture[str]) -> None:
    before = (scored.folder / "report.json").read_bytes()
    assert run([str(scored.model), "--rescore"]) == 0
    assert f"The report is {scored.folder}/report.html" in capsys.readouterr().out
    assert (scored.folder / "report.json").read_bytes() == before


@pytest.mark.parametrize(
    ("words", "text"),
    [(["--rescore", "--limit", "3"], "so --limit cannot change anything"),
     (["--rescore", "--keep-wavs"], "so --keep-wavs cannot change anything"),
     (["--omega", "10,x"], "x is not a whole number of at least 1"), (["--omega", "10,10"], "10,10 names one number twice"),
     (["--latency-rows", "-1"], "-1 is not a whole number")],
)
def test_command_line_that_cannot_be_meant_is_refused(words: list[str], text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        run(["some/run", *words])


def test_omegas_are_read_with_commas() -> None:
    assert omegas("10, 20") == (10, 20)
