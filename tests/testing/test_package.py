"""`omnikit test-plugin`: the components of a package, a table and a card."""

from pathlib import Path

import pytest
from frames_plugin.config import Frames, WrongDim

from omnikit import registry
from omnikit.cli import main
from omnikit.contracts import VERSION
from omnikit.testing import parametrize_with_checks


def publish(monkeypatch: pytest.MonkeyPatch, *classes: str) -> None:
    """Let a package acme publish encoders of frames_plugin; the registry is read by name as of any other."""
    entries = {name.lower(): (registry.RegistryEntry("encoder", name.lower(), f"frames_plugin.config:{name}", "acme", "1.2"),)
               for name in classes}
    published = registry.components
    monkeypatch.setattr(registry, "components", lambda kind: entries if kind == "encoder" else published(kind))


def test_a_package_that_does_what_it_states(monkeypatch: pytest.MonkeyPatch, tmp_path: Path,
                                            capsys: pytest.CaptureFixture[str]) -> None:
    publish(monkeypatch, "Frames")
    assert main(["test-plugin", "acme", "--card", str(tmp_path / "card.md")]) == 0
    assert capsys.readouterr().out.splitlines()[1].split() == ["encoder", "frames", "25", "0", "2"]
    card = (tmp_path / "card.md").read_text()
    assert card.startswith("# acme 1.2: conformance\n") and "Every check passes." in card
    assert "| `padding` | passed |  |" in card
    assert "acme declares no version of the interface, so that nobody is warned" in card


def test_the_version_that_a_package_is_for_is_stated(monkeypatch: pytest.MonkeyPatch,
                                                     capsys: pytest.CaptureFixture[str]) -> None:
    publish(monkeypatch, "Frames")
    monkeypatch.setattr(registry, "_interfaces", lambda: {"acme": ["1.0"]})
    assert main(["test-plugin", "Acme"]) == 0
    assert f"Acme is for interface 1.0; this omnikit has {VERSION}." in capsys.readouterr().out


def test_a_failure_is_a_sentence_and_exit_code_1(monkeypatch: pytest.MonkeyPatch, tmp_path: Path,
                                                 capsys: pytest.CaptureFixture[str]) -> None:
    publish(monkeypatch, "WrongDim")
    assert main(["test-plugin", "ACME", "--card", str(tmp_path / "card.md")]) == 1
    assert ("encoder wrongdim, output_dim: it gives features of hidden size 16, but its `output` states 17."
            in capsys.readouterr().out)
    assert "| `output_dim` | **failed** | it gives features of hidden size 16" in (tmp_path / "card.md").read_text()


def test_a_component_that_cannot_be_imported_is_broken(monkeypatch: pytest.MonkeyPatch,
                                                       capsys: pytest.CaptureFixture[str]) -> None:
    publish(monkeypatch, "Nowhere")
    assert main(["test-plugin", "acme"]) == 1
    assert "encoder nowhere, broken: encoder 'nowhere' of package acme is broken" in capsys.readouterr().out


def test_a_package_without_components_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["test-plugin", "omnikit-codecs"]) == 2
    assert "no installed package 'omnikit-codecs' publishes a component. Did you mean" in capsys.readouterr().err


@parametrize_with_checks([Frames(), WrongDim()], lambda config: {} if type(config) is Frames else {"output_dim": "seeded"})
def test_conforms(config, check) -> None:  # type: ignore[no-untyped-def]  # as an author writes it
    check(config)


def test_an_expected_failure_must_be_a_check() -> None:
    with pytest.raises(Exception, match=r"'output_dims' in the expected failures is not a check. Did you mean 'output_dim'\?"):
        parametrize_with_checks([Frames()], {"output_dims": "seeded"})
