"""Two recipes or runs compared: what is expected of each swap was worked out by hand from the stages of llama_omni/tiny."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from omnikit import cli
from omnikit.errors import OmnikitError
from omnikit.store.diff import Comparison, Side, compare, open_side, open_sides
from omnikit.store.facts import stage_facts
from omnikit.store.stage_record import StageRecord

TINY = "llama_omni/tiny"
ALL = ("read", "listen", "units", "understand", "speak", "voice")
SWAPS: list[tuple[str, tuple[str, ...], tuple[str, ...], str | None]] = [  # override, invalid or new, suspect, cheapest
    ("seed=1", ALL, (), "units"),
    ("system=hello", ALL, (), "units"),
    ("stages.read.trainer.max_steps=900", ("read",), ("understand", "speak"), "read"),
    ("stages.listen.optim.weight_decay=0.0", ("listen",), ("understand", "speak"), "listen"),
    ("stages.understand.optim.lr=1e-4", ("understand",), ("speak",), "understand"),
    ("stages.speak.optim.lr=1e-4", ("speak",), (), "speak"),
    ("stages.voice.optim.lr=1e-4", ("voice",), (), "voice"),
    ("stages.voice.after=units", ("voice",), (), "voice"),
    ("stages.speak.init_from=understand", ("speak",), (), "speak"),
    ("audio/encoder=mel_cnn_tiny_random", ("listen", "understand", "speak"), (), "listen"),  # read has text only
    ("audio.projector.hidden=128", ("understand", "speak"), (), "understand"),
    ("backbone.layers=4", ("read", "understand", "speak"), (), "read"),
    ("transcript/head=ctc_text", ("listen", "understand"), ("speak",), "listen"),
    ("speech.head.layers=3", ("speak",), (), "speak"),
    ("speech.units.iterations=20", ("units", "speak", "voice"), (), "units"),
    ("speech.codec.channels=64", ("voice",), (), "voice"),
    ("data.conversations.seed=1", ("listen", "units", "understand", "speak", "voice"), (), "units"),
    ("data.questions_as_text.seed=1", ("read", "understand"), ("speak",), "read"),
    ("~stages.voice", (), (), None),
    ("data.seen_speakers.seed=1", (), (), None),
    ("stages.voice.trainer.workers=2", (), (), None),
    ("generate.temperature=1.0", (), (), None),
    ("evaluate.asr=null", (), (), None),
]


DECLARED = """\
# @package _global_
defaults: [/recipe, {/audio/encoder: whisper_tiny_random}, {/audio/projector: stack_mlp}, {/backbone: llama_tiny_random},
           {/text/head: lm}, {/data/rows: messages_jsonl}, _self_]
data: {rows: {path: rows.jsonl, provides: [text, answer]}}
stages: {read: {train: {backbone: full}, loss: {text: 1.0}, data: {rows: 1.0}, trainer: {max_steps: 5}}}
"""
TWICE = """\
# @package _global_
defaults: [/llama_omni/tiny, _self_]
stages:
  more: {after: read, train: {backbone: full}, loss: {text: 1.0}, data: {questions_as_text: 1.0}, trainer: {max_steps: 5}}
"""


@pytest.fixture(scope="module")
def tiny() -> Side:
    return open_side(TINY)


def as_run(side: Side, folder: Path, **seconds: float) -> Side:
    """Give a recipe as a run whose named stages are finished."""
    stages = side.plan.stages
    records = {name: StageRecord(stage_facts(side.plan, name), seconds=number, data={"conversations": "d"},
                                 weights_before={part: f"of {origin}" for part, origin in stages[name].origins.items()},
                                 weights_after=dict.fromkeys(stages[name].trained, f"of {name}"))
               for name, number in seconds.items()}
    return replace(side, folder=folder, records=records)


def statuses(found: Comparison) -> dict[str, str]:
    return {one.stage: one.status for one in found.stages}


@pytest.mark.parametrize(("override", "to_train", "suspect", "cheapest"), SWAPS, ids=[swap[0] for swap in SWAPS])
def test_swap_has_its_known_answer(tiny: Side, override: str, to_train: tuple[str, ...], suspect: tuple[str, ...],
                                   cheapest: str | None) -> None:
    found = compare(tiny, open_side(TINY, [override]))
    assert (found.to_train, found.suspect, found.cheapest) == (to_train, suspect, cheapest)


def test_change_is_named_with_both_values_and_its_stages(tiny: Side) -> None:
    change, = compare(tiny, open_side(TINY, ["stages.speak.optim.lr=1e-4"])).changes
    assert (change.place, change.old, change.new, change.stages) == ("stages.speak.optim.lr", 0.002, 0.0001, ("speak",))


def test_another_component_is_one_change(tiny: Side) -> None:
    change, = compare(tiny, open_side(TINY, ["audio/encoder=mel_cnn_tiny_random"])).changes
    assert (change.place, change.old, change.new) == ("audio/encoder", "whisper", "mel_cnn")


def test_what_decides_no_weights_is_listed_without_stages(tiny: Side) -> None:
    changes = compare(tiny, open_side(TINY, ["generate.temperature=1", "stages.voice.trainer.workers=2"])).changes
    assert [(change.place, change.stages) for change in changes] == [("generate.temperature", ()),
                                                                     ("stages.voice.trainer.workers", ())]


def test_part_that_no_row_reaches_is_named_beside_valid_weights(tiny: Side) -> None:
    found = {one.stage: one for one in compare(tiny, open_side(TINY, ["audio/encoder=mel_cnn_tiny_random"])).stages}
    assert (found["read"].status, found["read"].unreached) == ("valid", ("audio/encoder",))


def test_part_that_rows_of_a_file_may_reach_makes_a_stage_suspect(tmp_path: Path) -> None:
    recipe = tmp_path / "declared.yaml"
    recipe.write_text(DECLARED)
    found, = compare(open_side(str(recipe)), open_side(str(recipe), ["audio.projector.hidden=128"])).stages
    assert (found.status, found.because) == ("suspect", ("audio.projector.hidden",))


def test_stage_after_valid_weights_beside_other_parts_is_valid(tmp_path: Path) -> None:
    recipe = tmp_path / "twice.yaml"
    recipe.write_text(TWICE)
    found = statuses(compare(open_side(str(recipe)), open_side(str(recipe), ["audio/encoder=mel_cnn_tiny_random"])))
    assert (found["read"], found["more"], found["listen"]) == ("valid", "valid", "invalid")


def test_equal_recipes_change_nothing(tiny: Side) -> None:
    found = compare(tiny, open_side(TINY))
    assert not found.changes and set(statuses(found).values()) == {"valid"}


def test_stage_that_only_the_second_has_is_to_train(tiny: Side) -> None:
    found = compare(open_side(TINY, ["~stages.voice"]), tiny)
    assert statuses(found)["voice"] == "new" and found.to_train == ("voice",) == (found.cheapest,)


def test_stage_that_a_run_has_not_trained_is_to_train(tiny: Side, tmp_path: Path) -> None:
    found = compare(as_run(tiny, tmp_path, read=5.0), tiny)
    assert statuses(found)["read"] == "valid" and found.to_train == ALL[1:]


def test_cheapest_counts_recorded_seconds(tiny: Side, tmp_path: Path) -> None:
    run = as_run(tiny, tmp_path, **dict(zip(ALL, (9.0, 2.0, 3.0, 4.0, 5.0, 6.0), strict=True)))
    assert compare(run, open_side(TINY, ["seed=1"])).cheapest == "listen"


def test_weights_that_were_replaced_since_make_a_stage_suspect(tiny: Side, tmp_path: Path) -> None:
    run = as_run(tiny, tmp_path, **dict.fromkeys(ALL, 1.0))
    retrained = {**run.records, "understand": replace(run.records["understand"], weights_after={"backbone": "of another"})}
    found = compare(replace(run, records=retrained), tiny)
    assert found.suspect == ("speak",) and not found.to_train


def test_other_content_of_data_makes_weights_of_two_runs_invalid(tiny: Side, tmp_path: Path) -> None:
    run = as_run(tiny, tmp_path, **dict.fromkeys(ALL, 1.0))
    other = {**run.records, "voice": replace(run.records["voice"], data={"conversations": "other"})}
    found = compare(run, replace(run, records=other))
    assert found.to_train == ("voice",) and found.changes[0].place == "data.conversations with content of fingerprint"


def test_two_runs_state_whether_their_weights_are_equal(tiny: Side, tmp_path: Path) -> None:
    run = as_run(tiny, tmp_path, read=1.0, listen=1.0)
    other = {**run.records, "listen": replace(run.records["listen"], weights_after={})}
    found = {one.stage: one.equal_weights for one in compare(run, replace(run, records=other)).stages}
    assert found == {**dict.fromkeys(ALL), "read": True, "listen": False}


def test_other_versions_are_a_change_that_decides_nothing(tiny: Side, tmp_path: Path) -> None:
    run, other = (as_run(tiny, tmp_path, read=1.0) for _ in range(2))
    other.records["read"] = replace(other.records["read"], versions={"torch": "9"})
    change, = compare(run, other).changes
    assert (change.place, change.new, change.stages) == ("versions.torch", "9", ())


@pytest.mark.parametrize("words", [["seed=1"], [TINY, TINY, TINY], [TINY, "seed=1", TINY, TINY]])
def test_other_than_two_sides_is_one_sentence(words: list[str]) -> None:
    with pytest.raises(OmnikitError, match=r"diff takes two recipes or runs, each followed by its overrides, but finds \d in"):
        open_sides(words)


def test_command_prints_what_to_run_and_json_holds_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["diff", TINY, "stages.understand.optim.lr=1e-4"]) == 0
    printed = capsys.readouterr().out
    assert printed.endswith("Cheapest to run again: understand (700 steps).\n"
                            "Suspect, as they start from weights that are replaced: speak.\n")
    assert cli.main(["diff", TINY, TINY, "stages.understand.optim.lr=1e-4", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["cheapest"] == "understand"


def test_diff_imports_no_torch() -> None:
    code = f"import sys; from omnikit.cli import main; main(['diff', '{TINY}', 'seed=1']); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.endswith("False\n")
