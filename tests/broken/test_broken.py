"""Every row of the table is refused with one sentence that names the place and the fix, in under 5 s, with no trace."""

import os
import shutil
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import soundfile
from broken.damaged import DAMAGED, TRAIN
from broken.table import TABLE, TRAP, Broken, row
from broken.wild import WILD
from small_recipe import RECIPE

from omnikit import cli

TEXT = """\
# One stage, one step: what `chat` is tried on.
defaults:
  - /recipe
  - /audio/encoder: mel_cnn
  - /audio/projector: linear
  - /vision/encoder: internvit_tiny_random
  - /vision/projector: linear
  - /backbone: llama_tiny_random
  - /text/head: lm
  - /data/rows: messages_jsonl
  - _self_
data: {rows: {path: rows.jsonl}}
backbone: {layers: 1}
stages:
  understand:
    train: {audio: full, backbone: full}
    loss: {text: 1.0}
    data: {rows: 1.0}
    trainer: {max_steps: 1, batch_size: 2}
generate: {max_new_tokens: 4}
"""
SECONDS = 5.0
ALL = (*TABLE, *DAMAGED, *WILD)


@pytest.fixture(scope="module")
def works(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which every command of the table works, but for its mistake."""
    folder = tmp_path_factory.mktemp("works")
    (folder / "small.yaml").write_text(RECIPE)
    (folder / "text.yaml").write_text(TEXT)
    (folder / "rows.jsonl").write_text(row() * 2)
    soundfile.write(folder / "good.wav", np.sin(np.arange(8000) / 20, dtype=np.float32) / 2, 16000)
    module, _, _ = TRAP.partition(".")
    code = "from pathlib import Path\nPath('it_ran').touch()\ndef spring(*a, **k):\n    Path('it_ran').touch()\n"
    (folder / f"{module}.py").write_text(code)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert cli.main(["train", "text.yaml", "run=run"]) == 0
    return folder


@pytest.fixture
def here(works: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "here"
    shutil.copytree(works, folder, symlinks=True)
    monkeypatch.chdir(folder)
    monkeypatch.syspath_prepend(str(folder))
    return folder


@pytest.mark.parametrize("argv", ["check small.yaml", "check --deep small.yaml", "check text.yaml", "chat run --text two",
                                  "chat run --audio good.wav"])
def test_without_the_mistake_it_works(here: Path, argv: str) -> None:
    assert cli.main(argv.split()) == 0


@pytest.mark.parametrize("broken", ALL,
                         ids=[ascii(f"{broken.kind}: {broken.argv}: {broken.place}")[1:-1] for broken in ALL])
def test_a_mistake_is_one_sentence(here: Path, capsys: pytest.CaptureFixture[str], broken: Broken) -> None:
    prepare(here, broken)
    before = time.process_time()
    code = cli.main(broken.argv.split())
    seconds = time.process_time() - before
    lines = capsys.readouterr().err.splitlines()
    assert code == 2 and len(lines) == 1, lines
    assert lines[0].startswith("omnikit: ") and lines[0].endswith((".", "?")), lines[0]
    assert broken.place in lines[0] and broken.fix in lines[0], lines[0]
    assert seconds < SECONDS
    assert not (here / "it_ran").exists() and TRAP.partition(".")[0] not in sys.modules
    assert not list(here.rglob("*.part*")) and not (here / "other").exists(), "nothing half-written"


def prepare(folder: Path, broken: Broken) -> None:
    """Make the one mistake."""
    recipe = RECIPE
    for old, new in broken.changes:
        assert old in recipe, f"small.yaml lacks {old!r}"
        recipe = recipe.replace(old, new)
    (folder / "small.yaml").write_text(recipe)
    for name, content in broken.files.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(content.encode() if isinstance(content, str) else content)
    if broken.damage:
        broken.damage(folder)


@pytest.mark.parametrize("damage", [broken for broken in DAMAGED if broken.argv == TRAIN and "--retrain" in broken.fix],
                         ids=lambda broken: broken.place)
def test_a_damaged_stage_is_trained_again_where_asked(here: Path, damage: Broken) -> None:
    prepare(here, damage)
    assert cli.main([*TRAIN.split(), "--retrain", "understand"]) == 0
    assert cli.main(TRAIN.split()) == 0 and cli.main(["chat", "run", "--text", "two"]) == 0


@pytest.mark.parametrize("content", ["[]", '{"recipe": ', "{}", None])
def test_training_writes_the_manifest_of_a_run_again(here: Path, content: str | None) -> None:
    before = (here / "run/manifest.json").read_text()
    (here / "run/manifest.json").unlink() if content is None else (here / "run/manifest.json").write_text(content)
    assert cli.main(TRAIN.split()) == 0
    assert (here / "run/manifest.json").read_text() == before


def test_a_stage_that_is_a_link_works(here: Path) -> None:
    (here / "run/understand").rename(here / "elsewhere")
    (here / "run/understand").symlink_to(here / "elsewhere")
    assert cli.main(["chat", "run", "--text", "two"]) == 0 and cli.main(TRAIN.split()) == 0
    assert cli.main([*TRAIN.split(), "--retrain", "understand"]) == 0
    assert not (here / "run/understand").is_symlink() and (here / "elsewhere/done").is_file()


@pytest.mark.parametrize("argv", ["check small.yaml audio/encoder=whispr", "chat run --audio none.wav"])
def test_from_a_shell_there_is_no_trace_and_little_time(here: Path, argv: str) -> None:
    before = sum(os.times()[2:4])
    done = subprocess.run([sys.executable, "-m", "omnikit.cli", *argv.split()], capture_output=True, text=True, check=False)
    seconds = sum(os.times()[2:4]) - before
    assert done.returncode == 2 and done.stderr.count("\n") == 1 and "Traceback" not in done.stderr
    assert seconds < 2 * SECONDS, "of processor time; half of it is torch's import, on a machine that others use too"


def test_the_table_is_long_and_wide() -> None:
    kinds = Counter(broken.kind for broken in TABLE)
    assert len(TABLE) >= 30 and len(kinds) >= 12
    assert len({(broken.argv, broken.place) for broken in TABLE}) == len(TABLE), "each row is another mistake"
