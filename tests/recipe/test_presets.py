from pathlib import Path

import pytest
from small_recipe import ENCODER, publish

from omnikit import registry
from omnikit.contracts.specs import KINDS
from omnikit.errors import ConfigError, RegistryError
from omnikit.recipe import presets
from omnikit.recipe.schema import construct, defaults

PRESETS = [(kind, name) for kind in (*KINDS, "data") for name in registry.presets(kind)]


@pytest.fixture
def preset(site: Path) -> Path:
    """The file of a preset of a made-up encoder, still to be written."""
    publish(site, "made_up", {"omnikit.encoder": {"frames": "made_up.config:Frames"},
                              "omnikit.conf": {"made_up": "made_up.conf"}},
            {"config.py": ENCODER, "conf/__init__.py": "", "conf/encoder/frames_64.yaml": "use: frames\n"})
    registry.forget()
    return site / "made_up/conf/encoder/frames_64.yaml"


def test_a_component_gives_use_and_its_defaults() -> None:
    assert presets.preset_fields("projector", "stack_mlp") == {"use": "stack_mlp", "stride": 5, "hidden": 256, "tail": "drop",
                                                              "uneven": False, "activation": "relu", "bias": True}


def test_a_preset_gives_all_fields_with_its_own_values(preset: Path) -> None:
    preset.write_text("use: frames\ndim: 64\n")
    assert presets.preset_fields("encoder", "frames_64") == {"use": "frames", "dim": 64, "frame": 320}


def test_a_dataset_is_a_reader_or_a_preset_of_one() -> None:
    assert presets.preset_fields("data", "instruct_s2s")["use"] == "messages_jsonl"
    assert presets.preset_fields("data", "messages_jsonl")["path"] == "???"


def test_an_unknown_name_gets_the_nearest_and_all_there_are() -> None:
    with pytest.raises(RegistryError) as caught:
        presets.preset_fields("head", "ctc_unit")
    expected = "head 'ctc_unit' is unknown. Did you mean 'ctc_units'? There is: caption_words, ctc_text, "
    assert str(caught.value).startswith(expected)


@pytest.mark.parametrize(("content", "sentence"), [
    ("dim: 64\n", "has no `use: <component>`; a preset names the encoder it sets."),
    ("use: 3\n", "has no `use: <component>`; a preset names the encoder it sets."),
    ("use: frames\ndin: 64\n", "sets 'din', which is not a field of encoder 'frames'. Did you mean 'dim'? It has: dim, frame."),
    ("use: frames\n_target_: os.getcwd\n", "sets '_target_', which is not a field of encoder 'frames'. It has: dim, frame."),
    ("- use\n", "is not a mapping of keys to values; fix the file."),
    ("use: [frames\ndim: 2", "line 2, is not YAML: expected ',' or ']', but got ':'; fix the file."),
], ids=["no use", "use is a number", "unknown field", "target", "list", "not yaml"])
def test_a_presets_mistakes_name_its_file(preset: Path, content: str, sentence: str) -> None:
    preset.write_text(content)
    with pytest.raises(ConfigError) as caught:
        presets.preset_fields("encoder", "frames_64")
    assert str(caught.value).startswith(str(preset)) and str(caught.value).endswith(sentence)


def test_a_preset_of_an_unknown_component_is_refused(preset: Path) -> None:
    preset.write_text("use: frame\n")
    with pytest.raises(RegistryError, match=r"encoder 'frame' is not installed\. Did you mean 'frames'\?"):
        presets.preset_fields("encoder", "frames_64")


@pytest.mark.parametrize("content", ["", "# only a comment\n"], ids=["empty", "comment"])
def test_an_empty_file_is_an_empty_mapping(tmp_path: Path, content: str) -> None:
    (tmp_path / "a.yaml").write_text(content)
    assert presets.read_mapping(tmp_path / "a.yaml") == {}


@pytest.mark.parametrize("content", [b"word", b"'word'", b"3", b"- a", b"\xff\xfe\x00", b"a: [1\n", b"a: 1\na: 2\n"],
                         ids=["word", "quoted", "number", "list", "binary", "cut", "twice"])
def test_what_is_no_mapping_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.yaml").write_bytes(content)
    with pytest.raises(ConfigError, match=r"a\.yaml.* is not .*; fix the file\.$"):
        presets.read_mapping(tmp_path / "a.yaml")


def test_numbers_with_an_exponent_are_numbers(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("lr: 1e-5\n")
    assert presets.read_mapping(tmp_path / "a.yaml") == {"lr": 1e-5}


def test_interpolations_stay_as_they_are(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("a: ${oc.env:HOME}\n")
    assert presets.read_mapping(tmp_path / "a.yaml") == {"a": "${oc.env:HOME}"}


def test_summary_is_the_first_comment_that_is_not_for_hydra(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("# @package _global_\n#\n# What it is.\n# More.\n")
    assert presets.summary(tmp_path / "a.yaml") == "What it is."


@pytest.mark.parametrize(("kind", "name"), PRESETS, ids="/".join)
def test_every_preset_can_be_made(kind: str, name: str) -> None:
    values = presets.preset_fields(kind, name)
    errors: list[str] = []
    cls = registry.component("reader" if kind == "data" else kind, values.pop("use"))
    assert construct(cls, values, name, errors) is not None, errors


@pytest.mark.parametrize(("kind", "name"), PRESETS, ids="/".join)
def test_every_preset_has_a_summary_and_only_what_differs(kind: str, name: str) -> None:
    preset = registry.preset(kind, name)
    assert preset is not None and presets.summary(preset.path)
    values = presets.read_mapping(preset.path)
    usual = defaults(registry.component("reader" if kind == "data" else kind, values.pop("use")))
    assert values, f"{name} sets nothing; the component itself would do"
    assert set(values) <= set(usual)
