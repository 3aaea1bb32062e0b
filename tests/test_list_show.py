# ruff: noqa: E501  # what is printed stands in one line

from pathlib import Path

import pytest
from small_recipe import ENCODER, publish, write_recipe

from omnikit import cli, registry
from omnikit.contracts.specs import KINDS
from omnikit.paths import cache_folder, recipe_files


def run(capsys: pytest.CaptureFixture[str], *argv: str) -> str:
    assert cli.main(argv) == 0
    shown = capsys.readouterr()
    assert shown.err == ""
    return shown.out


def fails(capsys: pytest.CaptureFixture[str], *argv: str) -> str:
    assert cli.main(argv) == 2
    shown = capsys.readouterr()
    assert shown.err.startswith("omnikit: ") and shown.err.count("\n") == 1
    return shown.err.removeprefix("omnikit: ").rstrip("\n")


# ---- list ------------------------------------------------------------------------------------------------------------


def test_list_names_every_component_preset_and_recipe(capsys: pytest.CaptureFixture[str]) -> None:
    words = set(run(capsys, "list").split())
    names = {name for kind in (*KINDS, "template", "data") for name in registry.presets(kind)}
    names |= {name for kind in KINDS for name in registry.components(kind)}
    assert names | set(recipe_files()) <= words


def test_list_of_a_kind_shows_package_and_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    lines = run(capsys, "list", "encoder").splitlines()
    assert lines[0] == "encoder"
    line, = (line for line in lines if line.split()[0] == "whisper")
    assert line.split()[1:3] == ["omnikit-whisper", "0.1.0"] and "Whisper's audio encoder" in line


def test_list_of_recipes(capsys: pytest.CaptureFixture[str]) -> None:
    lines = run(capsys, "list", "recipe").splitlines()
    assert sorted(line.split()[0] for line in lines if line.startswith("  ")) == list(recipe_files())
    heads = [line for line in lines if not line.startswith("  ")]
    assert heads[0] == "recipe" and "recipe: images" in heads and len(heads) == len(set(heads))


def test_list_of_an_unknown_kind(capsys: pytest.CaptureFixture[str]) -> None:
    assert fails(capsys, "list", "encodr").startswith("'encodr' is not a kind of component. Did you mean 'encoder'? Kinds: ")


@pytest.mark.parametrize(("word", "kind"), [("codecs", "codec"), ("units", "codec"), ("datasets", "data"), ("recipes", "recipe")])
def test_list_takes_plurals_and_slots(word: str, kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, "list", word) == run(capsys, "list", kind)


def test_broken_and_clashing_plugins_are_listed_as_such(site: Path, capsys: pytest.CaptureFixture[str]) -> None:
    publish(site, "made_up", {"omnikit.encoder": {"frames": "made_up.config:Frames"}}, {"config.py": "raise OSError('no licence')"})
    publish(site, "made_up_too", {"omnikit.encoder": {"whisper": "made_up_too.config:Frames", "fine": "made_up_too.config:Frames"}},
            {"config.py": ENCODER})
    registry.forget()
    lines = {line.split()[0] + line.split()[1]: line for line in run(capsys, "list", "encoder").splitlines()[1:]}
    assert "BROKEN: encoder 'frames' of package made-up is broken: made_up.config:Frames raised OSError: no licence." in lines["framesmade-up"]
    clash = "BROKEN: encoder 'whisper' is published by made-up-too and by omnikit-whisper; uninstall one of them."
    assert clash in lines["whispermade-up-too"] and clash in lines["whisperomnikit-whisper"]
    assert lines["finemade-up-too"].endswith("Cuts the wave into frames and projects each.")
    assert "BROKEN" not in lines["mel_cnnomnikit-mel-cnn"]


def test_clashing_presets_are_listed_as_such(site: Path, capsys: pytest.CaptureFixture[str]) -> None:
    publish(site, "made_up", {"omnikit.conf": {"made_up": "made_up.conf"}},
            {"conf/__init__.py": "", "conf/encoder/whisper_tiny.yaml": "use: whisper\n"})
    registry.forget()
    lines = [line for line in run(capsys, "list", "encoder").splitlines() if line.split()[0] == "whisper_tiny"]
    assert len(lines) == 2
    assert all("BROKEN: encoder preset 'whisper_tiny' is published by made-up and by omnikit-whisper;" in line for line in lines)


# ---- show ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "name"), [(kind, name) for kind in KINDS for name in registry.components(kind)], ids="/".join)
def test_show_describes_every_component(capsys: pytest.CaptureFixture[str], kind: str, name: str) -> None:
    out = run(capsys, "show", f"{kind}/{name}")
    entry = registry.components(kind)[name][0]
    assert out.startswith(f"{kind} {name}\n\n")
    assert f"package  {entry.package} {entry.version}\n" in out
    licence = "GPL-3.0-or-later" if name == "espeak" else "Apache-2.0"
    assert f"licence  {licence}\n" in out
    assert Path(out.rpartition("source   ")[2].rpartition(":")[0]).is_file()
    assert all(f"\n  {field} " in out for field in registry.component(kind, name).__dataclass_fields__)


def test_show_of_a_preset_has_its_numbers(capsys: pytest.CaptureFixture[str]) -> None:
    out = run(capsys, "show", "whisper_large_v3")
    assert out.startswith("encoder whisper_large_v3, a preset of whisper\n")
    assert "  dim                   1280" in out and "hidden size 1280, 1500 positions" in out


def test_show_of_a_dataset(capsys: pytest.CaptureFixture[str]) -> None:
    assert "data/instruct_s2s/train.jsonl" in run(capsys, "show", "data/instruct_s2s")


def test_show_of_an_unknown_name(capsys: pytest.CaptureFixture[str]) -> None:
    assert fails(capsys, "show", "whispr").startswith("component, preset or recipe 'whispr' is unknown. Did you mean 'whisper'?")
    assert fails(capsys, "show", "encoder/whispr").startswith("encoder 'whispr' is unknown. Did you mean 'whisper'?")


def test_show_of_a_slot_or_a_kind_names_what_to_list(capsys: pytest.CaptureFixture[str]) -> None:
    assert fails(capsys, "show", "speech/units") == "speech/units takes a component of kind codec: omnikit list codec names those that there are."
    assert fails(capsys, "show", "codecs") == "codecs is not a component but a kind of them: omnikit list codec names those that there are."
    assert fails(capsys, "show", "zzz") == "component, preset or recipe 'zzz' is unknown. omnikit list names all."


def test_show_of_what_needs_a_value_gives_no_error_and_fits_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    assert "missing" not in run(capsys, "show", "importer/llama_omni")
    out = run(capsys, "show", "builder/spoken_instructions")
    assert "missing" not in out and "contract" not in out and max(map(len, out.partition("package")[0].splitlines())) <= 128


def test_show_of_a_name_in_two_kinds_asks_which(site: Path, capsys: pytest.CaptureFixture[str]) -> None:
    publish(site, "made_up", {"omnikit.tts": {"whisper": "made_up.config:Frames"}}, {"config.py": ENCODER})
    registry.forget()
    assert fails(capsys, "show", "whisper") == "'whisper' is encoder/whisper and tts/whisper; write which one."
    assert run(capsys, "show", "tts/whisper").startswith("tts whisper\n")


def test_show_of_a_broken_component_gives_its_reason(site: Path, capsys: pytest.CaptureFixture[str]) -> None:
    publish(site, "made_up", {"omnikit.encoder": {"frames": "made_up.config:Frames"}}, {"config.py": "raise OSError('no licence')"})
    registry.forget()
    assert fails(capsys, "show", "frames").endswith("made_up.config:Frames raised OSError: no licence.")


def test_what_is_for_a_recipe_is_refused_beside_a_component(capsys: pytest.CaptureFixture[str]) -> None:
    assert fails(capsys, "show", "whisper", "seed=1") == "seed=1 is for a recipe, but whisper is not one; leave it out or name a recipe."
    assert fails(capsys, "show", "whisper", "--parameters").startswith("--parameters is for a recipe, but whisper is not one;")


def test_show_finds_every_name_that_list_prints(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, "show", "instruct_s2s").startswith("reader instruct_s2s, a preset of ")
    assert run(capsys, "show", "template/llama_3") == run(capsys, "show", "llama_3")
    assert "  assistant  " in run(capsys, "show", "llama_3") and "<|eot_id|>" in run(capsys, "show", "llama_3")


def test_show_of_a_recipe_is_its_wiring(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    out = run(capsys, "show", str(write_recipe(tmp_path)), "audio/projector=qformer")
    assert "audio.projector  qformer" in out and "32 positions" in out and "speak       speech.head" in out


def test_show_counts_parameters_like_torch(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    out = run(capsys, "show", str(write_recipe(tmp_path)), "audio/encoder=mel_cnn", "--parameters")
    dim = registry.component("encoder", "mel_cnn")().output.dim
    line, = (line for line in out.splitlines() if line.split()[:1] == ["audio.projector"])
    assert line.endswith(f"  {(dim + 1) * 128:,}".replace(",", " ")), "a Linear with bias into 128"


@pytest.mark.parametrize(("recipe", "sums"), [
    ("vita_1_5/full", {"vision.encoder": 304_012_288, "vision.projector": 27_532_288, "audio.encoder": 357_950_464,
                       "audio.projector": 17_835_520, "backbone with its input branches": 8_322_947_072}),
    ("vita/full", {"backbone": 46_864_666_624})])
def test_vita_has_the_published_sizes(recipe: str, sums: dict[str, int], capsys: pytest.CaptureFixture[str]) -> None:
    """The counts are those of the published safetensors' shapes."""
    lines = run(capsys, "show", recipe, "--parameters").splitlines()
    for part, number in sums.items():
        assert any(part in line and line.endswith(f"  {number:,}".replace(",", " ")) for line in lines), part


def test_show_draws_a_diagram(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    from xml.etree import ElementTree

    image = tmp_path / "wiring.svg"
    run(capsys, "show", str(write_recipe(tmp_path)), "--diagram", str(image))
    texts = [item.text for item in ElementTree.parse(image).iter("{http://www.w3.org/2000/svg}text")]
    assert {"audio.encoder", "audio.projector", "backbone", "text.head", "speech.head", "speech.codec"} <= set(texts)


def test_a_diagram_that_cannot_be_written_is_one_sentence(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert cli.main(["show", str(write_recipe(tmp_path)), "--diagram", str(tmp_path / "no" / "x.svg")]) == 2
    assert capsys.readouterr().err.endswith("cannot be written: No such file or directory; choose another file.\n")


# ---- places ----------------------------------------------------------------------------------------------------------


def test_the_cache_folder_is_named_by_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("OMNIKIT_CACHE", str(tmp_path))
    assert cache_folder() == tmp_path
    monkeypatch.delenv("OMNIKIT_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", "/x")
    assert cache_folder() == Path("/x/omnikit")
