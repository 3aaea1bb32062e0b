from dataclasses import make_dataclass
from pathlib import Path

import pytest
from small_recipe import ENCODER, publish

from omnikit import registry
from omnikit.contracts.members import extra, lacking, misspelt
from omnikit.contracts.optional import BackboneOptions, backbone_options
from omnikit.contracts.specs import KINDS
from omnikit.errors import RegistryError
from omnikit.recipe import presets


def publish_frames(site: Path, package: str = "made_up", name: str = "frames", **files: str) -> None:
    publish(site, package, {"omnikit.encoder": {name: f"{package}.config:Frames"},
                            "omnikit.conf": {package: f"{package}.conf"}},
            {"config.py": ENCODER, "conf/__init__.py": "", **files})
    registry.forget()


def test_a_component_is_found_by_its_entry_point(site: Path) -> None:
    publish_frames(site)
    assert registry.component("encoder", "frames").__name__ == "Frames"
    entry, = registry.components("encoder")["frames"]
    assert (entry.package, entry.version, entry.target) == ("made-up", "1.0", "made_up.config:Frames")


def test_listing_imports_no_plugin(site: Path) -> None:
    publish(site, "made_up", {"omnikit.encoder": {"frames": "made_up.config:Frames"}}, {"config.py": "raise SystemError"})
    registry.forget()
    assert "frames" in registry.components("encoder")


def test_a_plugin_that_raises_at_import_is_broken_and_breaks_nothing_else(site: Path) -> None:
    publish(site, "made_up", {"omnikit.encoder": {"frames": "made_up.config:Frames"}},
            {"config.py": "raise OSError('no licence file')"})
    registry.forget()
    reason = ("encoder 'frames' of package made-up is broken: made_up.config:Frames raised OSError: no licence file.")
    with pytest.raises(RegistryError) as caught:
        registry.component("encoder", "frames")
    assert str(caught.value) == reason
    assert registry.broken() == {"encoder frames (made-up)": reason}
    assert registry.component("encoder", "whisper").__name__ == "Whisper"


def test_a_plugin_whose_package_raises_has_no_presets_and_is_broken(site: Path) -> None:
    publish_frames(site, **{"__init__.py": "raise KeyError('x')", "conf/encoder/frames_16.yaml": "use: frames\n"})
    assert "frames_16" not in registry.presets("encoder")
    with pytest.raises(RegistryError, match=r"encoder 'frames' of package made-up is broken: .* raised KeyError: 'x'"):
        registry.component("encoder", "frames")


@pytest.mark.parametrize(("code", "reason"), [
    ("class Frames: pass", "made_up.config:Frames is not a dataclass."),
    ("Frames = 3", "made_up.config:Frames is not a dataclass."),
    ("", "raised AttributeError: module 'made_up.config' has no attribute 'Frames'."),
    ("from dataclasses import dataclass\n@dataclass\nclass Frames:\n    dim: int = 1\n    def __call__(self): pass\n"
     "Frames = Frames()",
     "made_up.config:Frames is not a dataclass."),
], ids=["class", "number", "absent", "instance"])
def test_what_is_no_dataclass_is_broken(site: Path, code: str, reason: str) -> None:
    publish(site, "made_up", {"omnikit.encoder": {"frames": "made_up.config:Frames"}}, {"config.py": code})
    registry.forget()
    with pytest.raises(RegistryError) as caught:
        registry.component("encoder", "frames")
    assert str(caught.value).endswith(reason)


def test_a_plugin_that_leaves_the_program_is_broken_in_one_line(site: Path) -> None:
    publish(site, "made_up", {"omnikit.encoder": {"frames": "made_up.config:Frames"}},
            {"config.py": "import sys\nsys.exit('no licence\\n  file')"})
    registry.forget()
    reason = "encoder 'frames' of package made-up is broken: made_up.config:Frames raised SystemExit: no licence file."
    assert registry.broken() == {"encoder frames (made-up)": reason}


def test_a_dataclass_that_lacks_what_its_kind_promises_is_broken(site: Path) -> None:
    code = "from dataclasses import dataclass\n@dataclass(frozen=True)\nclass Frames:\n    input: str\n" + \
        "    def build(self): pass\n"
    publish(site, "made_up", {"omnikit.encoder": {"frames": "made_up.config:Frames"}}, {"config.py": code})
    registry.forget()
    reason = ("encoder 'frames' of package made-up is broken: made_up.config:Frames lacks output, length, which each encoder"
              " has.")
    assert registry.broken() == {"encoder frames (made-up)": reason}


def test_check_gives_the_sentence_of_list_for_a_component_that_lacks_a_member(site: Path) -> None:
    code = ENCODER.replace("    def length(self, samples):", "    def size(self, samples):")
    publish(site, "made_up", {"omnikit.encoder": {"frames": "made_up.config:Frames"}}, {"config.py": code})
    registry.forget()
    with pytest.raises(RegistryError) as caught:
        registry.component("encoder", "frames")
    assert registry.broken() == {"encoder frames (made-up)": str(caught.value)}


def test_a_member_almost_spelt_like_an_optional_one_is_broken(site: Path) -> None:
    code = ENCODER.replace("    def length(self", "    def image_specs(self):\n        return None\n\n    def length(self")
    publish(site, "made_up", {"omnikit.encoder": {"frames": "made_up.config:Frames"}}, {"config.py": code})
    registry.forget()
    assert registry.broken() == {"encoder frames (made-up)": (
        "encoder 'frames' of package made-up is broken: made_up.config:Frames has image_specs, which omnikit does not read,"
        " but image_spec is an optional member of each encoder; rename it image_spec, or _image_specs if it is the plugin's"
        " own.")}


@pytest.mark.parametrize(("kind", "name", "meant"), [
    ("head", "unreachble", "unreachable"), ("head", "read", "reads"), ("head", "training_aligment", "training_alignment"),
    ("backbone", "end", "ends"), ("backbone", "pack", "packs"), ("codec", "average", "averages"),
])
def test_a_slip_of_the_pen_is_found(kind: str, name: str, meant: str) -> None:
    cls = make_dataclass("Made", [("dim", int, 1)], namespace={name: property(lambda self: None)})
    assert misspelt(kind, cls) == {name: meant}


@pytest.mark.parametrize("name", ["frame", "hop", "vocabulary_size", "layers"])
def test_a_member_of_the_plugins_own_is_no_slip(name: str) -> None:
    cls = make_dataclass("Made", [("dim", int, 1)], namespace={name: property(lambda self: None)})
    assert not misspelt("head", cls)
    assert extra("head", cls) == (name,)


@pytest.mark.parametrize(("kind", "name"), [(kind, name) for kind in KINDS for name in registry.components(kind)])
def test_no_installed_component_is_broken(kind: str, name: str) -> None:
    assert not lacking(kind, registry.component(kind, name))


def test_optional_members_have_their_defaults() -> None:
    cls = make_dataclass("Made", [("dim", int, 1)])
    assert backbone_options(cls()) == BackboneOptions(ends=(), packs=False, build_table=None)


def test_optional_members_are_those_that_the_component_has() -> None:
    cls = make_dataclass("Made", [("ends", tuple, (2, 3))], namespace={"packs": property(lambda self: True)})
    assert backbone_options(cls()) == BackboneOptions(ends=(2, 3), packs=True)


def test_an_attribute_error_inside_an_optional_member_is_not_hidden() -> None:
    cls = make_dataclass("Made", [("dim", int, 1)], namespace={"ends": property(lambda self: self.nothing)})
    with pytest.raises(AttributeError, match="nothing"):
        backbone_options(cls())


def test_a_name_in_use_is_an_error_that_names_both_packages(site: Path) -> None:
    publish_frames(site, name="whisper")
    sentence = "encoder 'whisper' is published by made-up and by omnikit-whisper; uninstall one of them."
    with pytest.raises(RegistryError) as caught:
        registry.component("encoder", "whisper")
    assert str(caught.value) == sentence
    assert registry.broken() == {"encoder whisper (made-up)": sentence, "encoder whisper (omnikit-whisper)": sentence}
    assert registry.component("encoder", "mel_cnn")


def test_one_name_in_two_kinds_is_no_clash(site: Path) -> None:
    publish(site, "made_up", {"omnikit.tts": {"whisper": "made_up.config:Frames"}}, {"config.py": ENCODER})
    registry.forget()
    assert registry.component("tts", "whisper").__name__ == "Frames"
    assert registry.component("encoder", "whisper").__name__ == "Whisper"


def test_a_package_found_twice_on_the_path_does_not_clash_with_itself(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    publish_frames(site)
    monkeypatch.syspath_prepend(str(site))
    registry.forget()
    assert len(registry.components("encoder")["frames"]) == 1


def test_an_unknown_name_gets_the_nearest_and_what_is_installed() -> None:
    with pytest.raises(RegistryError) as caught:
        registry.component("projector", "liner")
    text = str(caught.value)
    names = ", ".join(sorted(registry.components("projector")))
    assert text == f"projector 'liner' is not installed. Did you mean 'linear'? Installed: {names}."


def test_an_unknown_name_of_an_empty_kind_is_refused_with_that_reason() -> None:
    with pytest.raises(RegistryError, match=r"sampler 'silero' is not installed\. No component of this kind is installed\."):
        registry.component("sampler", "silero")


def test_a_preset_is_found_with_its_package(site: Path) -> None:
    publish_frames(site, **{"conf/encoder/frames_16.yaml": "# Sixteen wide.\nuse: frames\n"})
    found = registry.preset("encoder", "frames_16")
    assert found is not None
    assert (found.package, found.path) == ("made-up", site / "made_up/conf/encoder/frames_16.yaml")


def test_a_preset_with_a_components_name_is_an_error(site: Path) -> None:
    publish_frames(site, **{"conf/encoder/whisper.yaml": "use: frames\n"})
    with pytest.raises(RegistryError) as caught:
        registry.preset("encoder", "whisper")
    assert str(caught.value) == ("encoder preset and component 'whisper' is published by made-up and by omnikit-whisper;"
                                 " uninstall one of them.")


def test_two_presets_of_one_name_are_an_error(site: Path) -> None:
    publish_frames(site, **{"conf/encoder/whisper_tiny.yaml": "use: frames\n"})
    with pytest.raises(RegistryError) as caught:
        registry.preset("encoder", "whisper_tiny")
    assert str(caught.value) == ("encoder preset 'whisper_tiny' is published by made-up and by omnikit-whisper;"
                                 " uninstall one of them.")
    assert presets.preset_fields("encoder", "whisper_small")["use"] == "whisper"


def test_a_published_conf_package_that_is_not_there_is_passed_over(site: Path) -> None:
    publish(site, "made_up", {"omnikit.conf": {"made_up": "made_up.nothing"}}, {})
    registry.forget()
    assert "made-up" not in dict(registry.conf_folders())
    assert registry.presets("template")


def test_every_installed_component_works() -> None:
    assert registry.broken() == {}


def test_conf_file_finds_the_shipped_tokenizer() -> None:
    path = registry.conf_file("tokenizer", "tiny.json")
    assert path is not None and path.is_file()
    assert registry.conf_file("tokenizer", "none.json") is None
