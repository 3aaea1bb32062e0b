"""Which plugins this omnikit works with, entry points that it does not read, and names that go away."""

from pathlib import Path
from types import ModuleType

import pytest
from small_recipe import ENCODER, publish

from omnikit import registry
from omnikit.cli import main
from omnikit.contracts import VERSION
from omnikit.contracts.interface import deprecated_names, incompatible
from omnikit.errors import RegistryError

MAJOR, MINOR = map(int, VERSION.split("."))


def frames(site: Path, interface: str, **groups: dict[str, str]) -> None:
    publish(site, "made_up", {"omnikit.encoder": {"frames": "made_up.config:Frames"},
                              "omnikit.interface": {interface: "made_up"}, **groups}, {"config.py": ENCODER})
    registry.forget()


@pytest.mark.parametrize("declared,version,works", [
    ("1.0", "1.0", True), ("1.0", "1.7", True), ("1.10", "1.9", False), ("1.2", "1.1", False), ("2.0", "1.9", False),
    ("1.9", "2.0", False)])
def test_a_plugin_works_with_its_version_and_later_minor_ones(declared: str, version: str, *, works: bool) -> None:
    assert (incompatible(declared, version) == "") is works


def test_the_sentence_gives_both_versions_and_what_to_do() -> None:
    assert incompatible("2.1", "1.3") == ("is for interface 2.1 up to 3.0, but the omnikit that is installed has 1.3; install a"
                                          " version of the package for 1.3, or a later omnikit")
    assert incompatible("1.1", "2.0").endswith("or an earlier omnikit")


@pytest.mark.parametrize("declared", ["1", "v1.0", "1.0.0", "one.two"])
def test_what_is_no_version_is_incompatible(declared: str) -> None:
    assert incompatible(declared, "1.0") == (
        f"declares interface {declared!r}, but a version is MAJOR.MINOR, as 1.0 of the omnikit that is installed")


def test_an_incompatible_component_is_listed_so_and_the_others_work(site: Path, capsys: pytest.CaptureFixture[str]) -> None:
    frames(site, f"{MAJOR + 1}.0")
    reason = ("encoder 'frames' of package made-up is incompatible: the package is for interface"
              f" {MAJOR + 1}.0 up to {MAJOR + 2}.0, but the omnikit that is installed has {VERSION}; install a version of the"
              f" package for {VERSION}, or a later omnikit.")
    with pytest.raises(RegistryError) as caught:
        registry.component("encoder", "frames")
    assert str(caught.value) == reason
    assert main(["list", "encoder"]) == 0
    out = capsys.readouterr().out
    assert f"INCOMPATIBLE: {reason}" in out
    assert out.count("INCOMPATIBLE") == 1 and "BROKEN" not in out
    assert registry.component("encoder", "whisper").__name__ == "Whisper"


def test_an_incompatible_plugin_is_not_imported(site: Path) -> None:
    publish(site, "made_up", {"omnikit.encoder": {"frames": "made_up.config:Frames"}, "omnikit.interface": {"99.0": "made_up"}},
            {"config.py": "raise SystemError"})
    registry.forget()
    with pytest.raises(RegistryError, match="is incompatible"):
        registry.component("encoder", "frames")


def test_a_compatible_plugin_and_one_that_declares_nothing_work(site: Path) -> None:
    frames(site, VERSION)
    assert registry.component("encoder", "frames").__name__ == "Frames"


def test_a_mistyped_group_is_named_by_list_and_where_the_component_is_missed(site: Path,
                                                                             capsys: pytest.CaptureFixture[str]) -> None:
    publish(site, "made_up", {"omnikit.encoders": {"frames": "made_up.config:Frames"}}, {"config.py": ENCODER})
    registry.forget()
    sentence = ("Package made-up publishes 'frames' in the entry point group omnikit.encoders, which omnikit does not read."
                " Did you mean 'omnikit.encoder'?")
    assert main(["list"]) == 0
    assert f"note: {sentence}\n" in capsys.readouterr().out
    with pytest.raises(RegistryError, match="encoder 'frames' is not installed") as caught:
        registry.component("encoder", "frames")
    assert sentence in str(caught.value)


@pytest.mark.parametrize("value,files", [
    ("made_up.config", {}), ("made_up.conf.py", {}), ("made_up.settings", {"settings.py": ""})])
def test_a_conf_package_that_is_not_there_is_named(site: Path, value: str, files: dict[str, str],
                                                   capsys: pytest.CaptureFixture[str]) -> None:
    publish(site, "made_up", {"omnikit.conf": {"made_up": value}}, files)
    registry.forget()
    assert main(["list"]) == 0
    out = capsys.readouterr().out
    assert f"note: Package made-up publishes presets in {value}, which cannot be found or is no package;" in out


def test_every_plugin_of_the_tree_declares_this_version() -> None:
    for pyproject in (Path(__file__).parents[2] / "plugins").glob("*/pyproject.toml"):
        text = pyproject.read_text()
        declared = f'[project.entry-points."omnikit.interface"]\n"{VERSION}" = "omnikit_{pyproject.parent.name}"\n'
        assert declared in text, pyproject
        assert '"omnikit>=0.1,<0.2"' in text, pyproject


def test_a_deprecated_name_warns_and_gives_the_new_one() -> None:
    module = ModuleType("acme")
    module.__getattr__ = deprecated_names("acme", {"OldSpec": ("NewSpec", 7, "1.2")})  # type: ignore[method-assign]
    with pytest.warns(DeprecationWarning, match=r"OldSpec is deprecated since interface 1\.2 and goes away with 1\.3; use New"):
        assert module.OldSpec == 7
    with pytest.raises(AttributeError, match="module 'acme' has no attribute 'Other'"):
        _ = module.Other
