"""What `import omnikit` offers: names, arguments, short representations; light until something is run."""

import base64
import io
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from small_recipe import write_recipe

import omnikit
from omnikit.data.media.audio import wav_bytes
from omnikit.errors import OmnikitError
from omnikit.inference.answer import Answer
from omnikit.inference.question import question
from omnikit.paths import recipe_files
from omnikit.plan.plan import make
from omnikit.recipe.dump import dump
from omnikit.recipe.recipe import parse

NAMES = {"compose", "check", "forecast", "inspect", "train", "build", "load", "evaluate", "Recipe", "Plan", "Session", "Answer",
         "Run", "Evaluation"}


def test_forecast_gives_bytes_of_each_stage() -> None:
    alone, shared = omnikit.forecast("llama_omni/full"), omnikit.forecast("llama_omni/full", devices=8)
    assert set(alone) == {"understand", "speak"}
    assert alone["understand"].gradients == 8 * shared["understand"].gradients


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("api")
    answer = [{"type": "text", "text": "two"}, {"type": "audio", "path": "a.wav", "codes": [3, 5, 7]}]
    rows = [{"id": f"row{index}", "messages": [{"role": "user", "content": "one"}, {"role": "assistant", "content": answer}]}
            for index in range(4)]
    (folder / "a.wav").touch()  # not read, because there are codes
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return write_recipe(folder, ("path: rows.jsonl", f"path: {folder / 'rows.jsonl'}"),
                        ("speech/codec: unit_hifigan", "speech/codec: unit_hifigan_tiny_random"),
                        ("train: {audio: {projector: full}, backbone: full}", "train: {backbone: full}"))  # the rows are text


@pytest.fixture(scope="module")
def trained(recipe: Path) -> omnikit.Run:
    return omnikit.train(recipe, [f"run={recipe.parent / 'run'}"])


def test_public_names_are_those_of_the_reference() -> None:
    assert set(omnikit.__all__) == NAMES and set(dir(omnikit)) >= NAMES
    assert all(getattr(omnikit, name).__doc__ for name in NAMES)


def test_name_that_is_not_there_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'omnikit' has no attribute 'trian'"):
        omnikit.trian  # noqa: B018


@pytest.mark.parametrize("statement", ["import omnikit", "import omnikit; omnikit.check, omnikit.train, omnikit.Plan"])
def test_importing_it_imports_neither_torch_nor_hydra(statement: str) -> None:
    code = f"{statement}\nimport sys; print({{'torch', 'hydra', 'numpy', 'yaml'}} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


def test_check_of_a_name_is_the_plan_of_its_recipe(recipe: Path) -> None:
    plan = omnikit.check(recipe, ["seed=3"])
    assert plan.recipe.seed == 3 and plan.parts() == make(omnikit.compose(recipe)).parts()


def test_check_and_inspect_take_what_compose_gives(recipe: Path) -> None:
    plan = omnikit.check(omnikit.compose(recipe))
    assert omnikit.check(plan) is plan
    shown = omnikit.inspect(plan, stage="understand", rows=2)
    assert shown.title.startswith("small, stage understand: 2 rows of ")
    assert shown._repr_html_().startswith("<iframe srcdoc=")


def test_trained_run_loads_and_answers(trained: omnikit.Run) -> None:
    assert trained.stages == tuple(trained.plan.stages) and [one.stage for one in trained.results] == list(trained.stages)
    assert isinstance(trained.load().answer(text="one"), omnikit.Answer)


def test_run_trained_twice_is_left_as_it_is(trained: omnikit.Run, recipe: Path) -> None:
    again = omnikit.train(recipe, [f"run={trained.folder}"])
    assert all(one.skipped for one in again.results) and again.folder == trained.folder


def test_run_is_opened_by_its_folder(trained: omnikit.Run) -> None:
    opened = omnikit.Run.open(trained.folder)
    assert opened.folder == trained.folder.resolve() and opened.stages == trained.stages


@pytest.mark.parametrize("name", recipe_files())
def test_dumped_recipe_is_read_as_the_same_recipe(name: str, tmp_path: Path) -> None:
    import yaml

    composed = omnikit.compose(name)
    assert parse(yaml.safe_load(dump(composed)), name, composed.picks) == composed


def test_session_in_one_line(trained: omnikit.Run) -> None:
    session = omnikit.load(trained)
    count = sum(parameter.numel() for parameter in session.model.parameters())
    assert repr(session) == (f"Session(recipe='small', run={str(trained.folder)!r}, stage='speak',"
                             f" device={str(session.device)!r}, parameters={count:,})")
    assert "<svg" in session._repr_html_()


def test_session_takes_a_device_and_a_dtype(trained: omnikit.Run) -> None:
    session = trained.load(device="cpu", dtype="bfloat16")
    dtypes = {parameter.dtype for parameter in session.model.get_submodule("backbone").parameters()}
    assert session.device.type == "cpu" and dtypes == {torch.bfloat16}


def test_finished_stage_is_trained_again_where_that_is_asked(trained: omnikit.Run, recipe: Path) -> None:
    again = omnikit.train(recipe, [f"run={trained.folder}"], retrain=["speak"])
    assert [one.skipped for one in again.results] == [True, False]


def test_session_without_a_run_has_none(recipe: Path) -> None:
    assert ", run=None, stage=None, " in repr(omnikit.build(recipe))


def test_run_in_one_line(trained: omnikit.Run) -> None:
    assert repr(trained) == f"Run(recipe='small', folder={str(trained.folder)!r}, stages='understand, speak')"


def test_recipe_and_plan_are_tables(recipe: Path) -> None:
    composed = omnikit.compose(recipe)
    assert repr(composed).startswith("Recipe small\n  part ") and "\n  speak " in repr(composed)
    assert repr(omnikit.check(composed)).startswith("Plan small\n\n  part ") and "starts from" in repr(omnikit.check(composed))
    assert omnikit.check(composed)._repr_html_().startswith("<svg ")


def test_answer_has_its_text_and_a_player() -> None:
    waveform = np.linspace(-0.5, 0.5, 160, dtype=np.float32)
    answer = Answer("a < b", waveform, 16000)
    assert repr(answer) == "Answer('a < b', 0.0 s of audio at 16000 Hz)"
    shown = answer._repr_html_()
    data = base64.b64decode(shown.partition("base64,")[2].partition('"')[0])
    found, rate = soundfile.read(io.BytesIO(data), dtype="float32")
    assert shown.startswith("<p>a &lt; b</p><audio controls") and rate == 16000
    np.testing.assert_allclose(found, waveform, atol=1 / 32768)  # 16-bit samples
    assert data == wav_bytes(waveform, 16000)


def test_answer_without_audio_is_text_alone() -> None:
    assert (Answer("yes")._repr_html_(), repr(Answer("no", state="text"))) == ("<p>yes</p>", "Answer('no', state='text')")


@pytest.mark.parametrize(("call", "sentence"), [
    (lambda: omnikit.compose(5), "recipe is 5, but must be a recipe's name, a YAML file or a run's folder."),
    (lambda: omnikit.compose("asr/tiny", "seed=1"), "overrides is 'seed=1', but must be a list of texts, for example"),
    (lambda: omnikit.check(5), "recipe is 5, but must be a recipe's name, a YAML file, a run's folder, or what omnikit"),
    (lambda: omnikit.check(omnikit.compose("asr/tiny"), ["seed=1"]), "overrides is ['seed=1'], but asr/tiny is composed"),
    (lambda: omnikit.build("asr/tinny"), "recipe 'asr/tinny' is unknown. Did you mean 'asr/tiny'?"),
    (lambda: omnikit.build(None), "recipe is None, but must be a recipe's name"),
    (lambda: omnikit.train(["asr/tiny"]), "recipe is ['asr/tiny'], but must be a recipe's name"),
    (lambda: omnikit.load(5), "run is 5, but must be a run's folder, a recipe's name, or what omnikit.train gives."),
    (lambda: omnikit.evaluate(None), "run is None, but must be a run's folder"),
    (lambda: question(), "A question has neither audio nor text, image or video; give one of them."),
    (lambda: question(text=5), "text is 5, but must be a text."),
    (lambda: question(text="a", system=b"b"), "system is b'b', but must be a text."),
    (lambda: question(audio=5), "audio is 5, but must be a file, or samples [N] at 16 kHz in an array or tensor."),
    (lambda: question(audio=np.zeros((2, 9, 9))), "audio has shape [2, 9, 9], but must be [samples], or that with one axis"),
    (lambda: question(image=[3]), "image is 3, but must be a file or pixels, or a list of them."),
], ids=lambda value: value if isinstance(value, str) else "call")
def test_wrong_argument_is_one_sentence(call: Callable[[], object], sentence: str) -> None:
    with pytest.raises(OmnikitError) as caught:
        call()
    assert str(caught.value).startswith(sentence) and "\n" not in str(caught.value)
