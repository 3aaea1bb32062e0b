"""Doubles' answers through their codec alone: word errors, codebook utilisation, and what is refused."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest
import torch
from doubles import FakeCodec, FakeCodecModule, make_asr, make_plan, write_tokenizer

from omnikit.commands.check_head import run, table
from omnikit.contracts.types import ContentPart, Message, Sample
from omnikit.errors import PlanError, RunError
from omnikit.evaluation import resynthesis
from omnikit.evaluation.resynthesis import Resynthesis, resynthesise
from omnikit.plan.plan import Plan
from omnikit.recipe.answers import Evaluate
from omnikit.store.runs import find
from omnikit.training.stage import run_stages

FINE = FakeCodec(81)  # separates all eight words


def finely(plan: Plan) -> Plan:
    """Give a plan whose codec is FINE."""
    return replace(plan, outputs=plan.outputs | {"speech": replace(plan.outputs["speech"], codec=FINE, codes=FINE.spec)})


class Trained:
    """An ASR model, and a run of which only the stage that fits its codec is finished."""

    def __init__(self, folder: Path) -> None:
        tokenizer = write_tokenizer(folder)
        full = finely(make_plan(tokenizer))
        first = {name: full.recipe.stages[name] for name in ("listen", "units")}
        self.folder, self.plans = folder, {"model": full, "asr": make_asr(tokenizer, steps=150)}
        for name, plan in (("model", finely(make_plan(tokenizer, only=first))), ("asr", self.plans["asr"])):
            run_stages(plan, folder / name, "")

    def resynthesised(self, patch: pytest.MonkeyPatch, plan: Plan | None = None,
                      asr: str | None = "asr") -> dict[str, Resynthesis]:
        plans = self.plans | ({"model": plan} if plan else {})
        patch.setattr(resynthesis, "load_plan", lambda path: plans[find(path).name])  # doubles are not installed
        return resynthesise(self.folder / "model", self.folder / asr if asr else None, limit=20)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    return Trained(tmp_path_factory.mktemp("trained"))


def test_codec_that_preserves_the_words_is_intelligible_before_a_head_is_trained(
        trained: Trained, monkeypatch: pytest.MonkeyPatch) -> None:
    found = trained.resynthesised(monkeypatch)["echo"]
    assert found.rows == 20 and found.codec_wer and found.ground_truth_wer
    assert found.codec_wer.value == found.ground_truth_wer.value < 0.05  # a box gives its words back as they were
    assert found.codebook_utilisation == pytest.approx(8 / 81)  # eight words
    assert 7 < found.perplexity <= 8 and found.mel_distance is None  # runs are merged


def test_codec_that_loses_the_words_is_unintelligible(trained: Trained, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FakeCodecModule, "encode", lambda self, wave: torch.full((len(wave) // 5, 1), 3))
    found = trained.resynthesised(monkeypatch)["echo"]
    assert found.codec_wer and found.codec_wer.value > 0.5 and found.perplexity == 1


def test_codec_that_was_not_trained_is_refused(trained: Trained, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("omnikit.store.lineage.is_done", lambda folder, plan, name: False)
    with pytest.raises(RunError, match=r"Stage units of .*model is not finished; finish it with omnikit train"):
        trained.resynthesised(monkeypatch)


def test_no_spoken_answers_no_codec_or_no_asr_model_is_refused(trained: Trained, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = trained.plans["model"]
    with pytest.raises(PlanError, match=r"doubles/tiny names no evaluate\.asr, so its codec cannot be measured"):
        trained.resynthesised(monkeypatch, asr=None)
    silent = replace(plan, recipe=replace(plan.recipe, evaluate=Evaluate({})))
    with pytest.raises(PlanError, match=r"No dataset under evaluate\.data of doubles/tiny has spoken answers with their text"):
        trained.resynthesised(monkeypatch, silent)
    no_codec = replace(plan, outputs={name: output for name, output in plan.outputs.items() if name != "speech"})
    with pytest.raises(PlanError, match="doubles/tiny has no codec that encodes and decodes"):
        trained.resynthesised(monkeypatch, no_codec)


def test_an_audio_is_compared_with_the_text_of_its_own_answer() -> None:
    def answer(text: str, *audios: ContentPart) -> list[Message]:
        return [Message("user", (ContentPart("text", text="why"),)), Message("assistant",
                                                                             (ContentPart("text", text=text), *audios))]

    audio = ContentPart("audio", path="a.wav")
    rows = [Sample("last is silent", (*answer("spoken", audio), *answer("written"))), Sample("codes alone", tuple(answer(
        "spoken", ContentPart("audio", codes=((1,),))))), Sample("in pieces", tuple(answer("both", audio, audio)))]
    plan = cast(Plan, SimpleNamespace(readers={"talk": SimpleNamespace(build=lambda: rows)}))
    assert [(sample.id, part, text) for sample, part, text in resynthesis._rows(plan, "talk", 9)] == [
        ("last is silent", audio, "spoken")]


def test_command_prints_a_line_for_each_dataset(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    found = {"spoken": Resynthesis(20, None, None, None, 0.512, 0.91, 0.25, 12.34)}
    monkeypatch.setattr(resynthesis, "resynthesise", lambda *given: found if given == ("a/run", None, 5, ()) else {})
    assert run(["a/run", "--limit", "5"]) == 0
    assert capsys.readouterr().out == table(found)
    assert table(found).splitlines()[1].split() == ["spoken", "20", "-", "-", "-", "0.51", "0.91", "25%", "12.3", "-", "-"]
