"""A stage whose head reads words: trained with the embedding table alone, then speaking in a session."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from small_recipe import write_recipe

import omnikit
from omnikit.data.check import DatasetChecker
from omnikit.data.media.audio import save_audio
from omnikit.data.text.tokenizer import load as load_tokenizer
from omnikit.errors import DataError, PlanError
from omnikit.evaluation import resynthesis
from omnikit.inference.sentence_speech import SentenceStream
from omnikit.inference.session import restore
from omnikit.model import OmniModel
from omnikit.plan.plan import Plan, make
from omnikit.recipe.answers import Generate
from omnikit.store.hashes import hashes
from omnikit.store.runs import WEIGHTS
from omnikit.training import fit
from omnikit.training import stage as staging

HEAD = ("/speech/head: ctc_units_tiny_random", "/speech/head: nar_ar_tiny_random\n  - /speech/normaliser: vita_text")
STEPS = [f"stages.{stage}.{key}" for stage in ("understand", "speak") for key in ("trainer.max_steps=60", "optim.lr=3e-3")]
ROWS = [("how many", "One. And then two!", [1, 2, 3, 4]), ("what", "nothing at all", [7, 7, 9])]


def row(number: int, asked: str, text: str, codes: list[int]) -> dict[str, object]:
    answer = [{"type": "text", "text": text}, {"type": "audio", "path": "a.wav", "codes": codes}]
    return {"id": f"r{number}", "messages": [{"role": "user", "content": [{"type": "text", "text": asked}]},
                                             {"role": "assistant", "content": answer}]}


def planned(folder: Path, *overrides: str) -> Plan:
    rows = [row(number, *facts) for number, facts in enumerate(ROWS)]
    (folder / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    save_audio(folder / "a.wav", np.zeros(16, dtype=np.float32), 16000)
    recipe = write_recipe(folder, HEAD, ("[text, audio, answer, codes]", "[text, answer, codes]"),
                          ("{path: rows.jsonl", f"{{path: {folder / 'rows.jsonl'}"),
                          ("train: {audio: {projector: full}, backbone: full}", "train: {backbone: full}"))
    settings = ["speech.head.max_codes=40", "speech.head.top_k=1", "generate.max_new_tokens=24"]
    return make(omnikit.compose(str(recipe), [*settings, *STEPS, *overrides]))


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Plan, Path, dict[str, set[str]]]:
    folder, built = tmp_path_factory.mktemp("words"), {}
    plan, assemble = planned(folder), staging.assemble

    def seen(plan: Plan, stage: staging.StagePlan, run: Path) -> OmniModel:
        model = assemble(plan, stage, run)
        built[stage.name] = {name for name, _ in model.named_parameters() if name.startswith("backbone")}
        return model

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(staging, "assemble", seen)
        staging.run_stages(plan, folder / "run", "name: small\n")
    return plan, folder / "run", built


def test_of_the_backbone_the_table_alone_is_in_memory(trained: tuple[Plan, Path, dict[str, set[str]]]) -> None:
    plan, _, built = trained
    assert plan.stages["speak"].used == ("backbone", "speech.head")
    assert built["speak"] == {"backbone.model.embed_tokens.weight"} < built["understand"]


def test_the_table_is_the_one_that_was_trained(trained: tuple[Plan, Path, dict[str, set[str]]]) -> None:
    plan, run, _ = trained
    model = staging.assemble(plan, plan.stages["speak"], run)
    stored = load_file(run / "understand" / WEIGHTS)["backbone.model.embed_tokens.weight"]
    assert torch.equal(model.get_submodule("backbone").get_parameter("model.embed_tokens.weight"), stored)


def test_a_finished_stage_that_used_the_table_alone_is_not_run_again(trained: tuple[Plan, Path, dict[str, set[str]]]) -> None:
    plan, run, _ = trained
    before, after = (json.loads((run / stage / "manifest.json").read_text())[f"weights_{when}"]["backbone"]
                     for stage, when in (("speak", "before"), ("understand", "after")))
    assert before == after
    assert [row.skipped for row in staging.run_stages(plan, run, "name: small\n")] == [True, True]


def test_a_fresh_table_is_that_of_the_whole_backbone(tmp_path: Path) -> None:
    plan = planned(tmp_path)
    table, whole = (OmniModel(plan, ["backbone"], kind).get_submodule("backbone") for kind in ("fresh", None))
    assert torch.equal(table.get_parameter("model.embed_tokens.weight"), whole.get_parameter("model.embed_tokens.weight"))


def test_it_speaks_what_it_was_taught_streamed_as_whole(trained: tuple[Plan, Path, dict[str, set[str]]]) -> None:
    plan, run, _ = trained
    session = restore(plan, run)
    written = json.loads((run / "understand" / "manifest.json").read_text())["weights_after"]["backbone"]
    assert hashes(session.model)["backbone"] == written
    answer, events = session.answer(text="how many"), list(session.stream(text="how many", omega=5))
    assert answer.codes == sum((event.codes for event in events), ()) == ((1,), (2,), (3,), (4,))
    waves = [event.waveform for event in events if event.waveform is not None]
    np.testing.assert_allclose(np.concatenate(waves), answer.waveform, atol=1e-5)


def test_it_speaks_before_the_first_sentence_is_whole_if_asked(trained: tuple[Plan, Path, dict[str, set[str]]]) -> None:
    plan, run, _ = trained
    session = restore(replace(plan, recipe=replace(plan.recipe, generate=Generate(24, speak_after=8))), run)
    answer, events = session.answer(text="what"), list(session.stream(text="what", omega=1))
    assert "".join(event.text for event in events) == answer.text == "nothing at all"
    assert answer.codes == sum((event.codes for event in events), ())
    assert min(i for i, event in enumerate(events) if event.codes) < max(i for i, event in enumerate(events) if event.text)


def test_the_head_alone_speaks_a_text_and_its_vectors_can_be_shuffled(trained: tuple[Plan, Path, dict[str, set[str]]]) -> None:
    plan, run, _ = trained
    output, tokenizer = plan.outputs["speech"], load_tokenizer(str(plan.tokenizer))
    reader = resynthesis._reader(plan, run, output)
    assert reader is not None and list(SentenceStream(reader, output, tokenizer).finish("nothing at all")) == [(7,), (7,), (9,)]
    table = reader.get_submodule("backbone").get_parameter("model.embed_tokens.weight")
    before = table.clone()
    assert resynthesis._shuffled(reader, 0)
    assert not torch.equal(table, before) and torch.equal(table.sort(0).values, before.sort(0).values)


def test_speech_without_words_is_named(tmp_path: Path) -> None:
    plan = planned(tmp_path)
    samples = [plan.readers["rows"].build()[0]]
    collate = fit.collator(plan, plan.stages["speak"], OmniModel(plan, ["speech.head"]))
    answer = samples[0].messages[-1].content[0]
    object.__setattr__(answer, "text", "☞")
    with pytest.raises(DataError, match="Row r0 has speech in an answer without text, but branch speech is trained to speak"):
        collate(samples)


@pytest.mark.parametrize(("answers", "overrides", "kind"), [
    (("☞",), (), "no text"), (("one", "two"), ("speech.head.prefix=true",), "several answers"), (("one", "two"), (), None),
], ids=["no words", "several with states", "several"])
def test_data_check_names_speech_that_cannot_be_learned(
        tmp_path: Path, answers: tuple[str, ...], overrides: tuple[str, ...], kind: str | None) -> None:
    plan = planned(tmp_path, *overrides)
    turns = [message for answer in answers for message in row(0, "what", answer, [1, 2])["messages"]]
    (tmp_path / "rows.jsonl").write_text(json.dumps({"id": "r0", "messages": turns}))
    found = list(DatasetChecker(plan, "rows", plan.readers["rows"].build()).problems(lambda: None))
    assert [(problem.row, problem.kind) for problem in found] == ([("r0", kind)] if kind else [])


def test_a_head_too_wide_for_the_table_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PlanError, match=r"speech.head cannot read the embedding it taps \(hidden size 128\): it"
                       r" cuts .* parts of size 96"):
        planned(tmp_path, "speech.head.dim=96")


def test_a_head_with_a_prefix_of_hidden_states_speaks_too(tmp_path: Path) -> None:
    plan = planned(tmp_path, "speech.head.prefix=true")
    staging.run_stages(plan, tmp_path / "run", "name: small\n")
    assert not plan.stages["speak"].table
    session = restore(plan, tmp_path / "run")
    answer, events = session.answer(text="how many"), list(session.stream(text="how many", omega=5))
    assert answer.codes == sum((event.codes for event in events), ()) == ((1,), (2,), (3,), (4,))
