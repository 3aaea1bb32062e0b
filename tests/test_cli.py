import errno
import subprocess
import sys
from pathlib import Path

import pytest
from small_recipe import write_recipe

import omnikit
from omnikit import cli


def run(capsys: pytest.CaptureFixture[str], *argv: str) -> tuple[int, str, str]:
    code = cli.main(argv)
    shown = capsys.readouterr()
    return code, shown.out, shown.err


@pytest.mark.parametrize("argv", [(), ("--help",), ("-h",)], ids=str)
def test_help_names_every_command(capsys: pytest.CaptureFixture[str], argv: tuple[str, ...]) -> None:
    code, out, err = run(capsys, *argv)
    assert (code, err) == (0, "")
    assert all(f"\n  {word} " in out for word in cli.COMMANDS) and "example: omnikit train" in out


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, "--version") == (0, f"omnikit {omnikit.__version__}\n", "")


def test_an_unknown_command_gets_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(capsys, "trian")
    assert (code, out) == (2, "")
    assert err == f"omnikit: 'trian' is not a command. Did you mean 'train'? Commands: {', '.join(cli.COMMANDS)}.\n"


@pytest.mark.parametrize("word", [word for word in cli.COMMANDS if word != "completion"])
def test_every_command_has_help(capsys: pytest.CaptureFixture[str], word: str) -> None:
    with pytest.raises(SystemExit) as caught:
        cli.main([word, "--help"])
    assert caught.value.code == 0 and capsys.readouterr().out.startswith(f"usage: omnikit {word} ")


@pytest.mark.parametrize(("argv", "sentence"), [
    (["check"], "omnikit check: the following arguments are required: recipe; see omnikit check --help."),
    (["check", "a", "--dep"], "omnikit check: unrecognized arguments: --dep; see omnikit check --help."),
    (["eval", "a", "--limit", "many"],
     "omnikit eval: argument --limit: many is not a whole number of at least 1; see omnikit eval --help."),
    (["train", "a", "--cfg", "all of it"], "omnikit train: argument --cfg: invalid choice: 'all of it'"),
], ids=["missing", "unknown", "type", "choice"])
def test_a_wrong_command_line_is_one_sentence(capsys: pytest.CaptureFixture[str], argv: list[str], sentence: str) -> None:
    code, _, err = run(capsys, *argv)
    assert code == 2 and err.startswith(f"omnikit: {sentence}") and err.count("\n") == 1


def test_check_prints_the_wiring_and_the_stages(capsys: pytest.CaptureFixture[str], tmp_path: Path,
                                                monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = str(write_recipe(tmp_path))
    (tmp_path / "rows.jsonl").write_text("")
    monkeypatch.chdir(tmp_path)
    code, out, _ = run(capsys, "check", recipe)
    assert code == 0 and out.endswith(f"{recipe} fits together: 6 parts, 2 stages.\n")
    speak = "1 speech  1 rows  3 steps x 2  audio.projector of understand, backbone of understand"
    assert f"speak       speech.head                {speak}\n" in out


def test_every_error_has_its_own_line_and_the_code_is_2(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    code, out, err = run(capsys, "check", str(write_recipe(tmp_path)), "~speech/codec", "audio.encoder.dim=3")
    assert (code, out, len(err.splitlines())) == (2, "", 2)
    assert all(line.startswith("omnikit: ") for line in err.splitlines())


def test_an_interrupt_ends_with_130_and_states_how_to_resume(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(argv: list[str]) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr("omnikit.commands.train.run", interrupted)
    code, _, err = run(capsys, "train")
    assert (code, err) == (130, "omnikit: interrupted; finished stages and steps are saved, run the same command to resume.\n")
    monkeypatch.setattr("omnikit.commands.list.run", interrupted)
    assert run(capsys, "list") == (130, "", "omnikit: interrupted.\n")


def test_a_bug_of_ours_shows_its_trace(monkeypatch: pytest.MonkeyPatch) -> None:
    def buggy(argv: list[str]) -> int:
        raise ZeroDivisionError

    monkeypatch.setattr("omnikit.commands.list.run", buggy)
    with pytest.raises(ZeroDivisionError):
        cli.main(["list"])


@pytest.mark.parametrize(("error", "sentence"), [
    (PermissionError(errno.EACCES, "Permission denied", "rows.jsonl"), "rows.jsonl cannot be used: Permission denied"),
    (OSError(errno.EIO, "Input/output error"), "a file cannot be read or written: Input/output error"),
], ids=["permission", "disk"])
def test_what_the_machine_refuses_is_one_sentence(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch,
                                                  error: OSError, sentence: str) -> None:
    def refused(argv: list[str]) -> int:
        raise error

    monkeypatch.setattr("omnikit.commands.list.run", refused)
    assert run(capsys, "list") == (2, "", f"omnikit: {sentence}; check its permissions and its disk.\n")


def test_output_whose_reader_went_away_is_no_error() -> None:
    shell = f"{sys.executable} -m omnikit.cli --help | true; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", shell], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(("shell", "code", "shown"), [
    ("{} list >&-", 0, ""), ("{} nothing 2>&-", 2, ""), ("env PYTHONIOENCODING=ascii {} --help | tail -1", 0, "example"),
    ("mkdir gone; cd gone; rmdir ../gone; {} check llama_omni/tiny", 2, "the folder that you are in was removed"),
], ids=["closed output", "closed errors", "encoding", "folder"])
def test_a_poor_shell_gets_no_trace(tmp_path: Path, shell: str, code: int, shown: str) -> None:
    words = shell.format(f"{sys.executable} -m omnikit.cli")
    done = subprocess.run(["bash", "-o", "pipefail", "-c", words], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == code and shown in done.stdout + done.stderr and "Traceback" not in done.stderr


def test_train_shows_the_configuration_and_makes_no_folder(capsys: pytest.CaptureFixture[str], tmp_path: Path,
                                                           monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_recipe(tmp_path)
    code, out, _ = run(capsys, "train", "small.yaml", "seed=7", "--cfg", "job")
    assert code == 0 and "seed: 7\n" in out and "use: whisper\n" in out and "hydra" not in out
    assert [path.name for path in tmp_path.iterdir()] == ["small.yaml"]
