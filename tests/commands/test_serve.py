"""`omnikit serve` on the command line: a real process, its errors, its end by SIGTERM."""

import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from doubles import make_plan, write_tokenizer

from omnikit.cli import main
from omnikit.training.stage import run_stages

ERRORS = {
    "half of TLS": (["--tls-cert", "cert.pem"], "--tls-cert and --tls-key belong together"),
    "no certificate": (["--tls-cert", "gone.pem", "--tls-key", "gone.pem"], "gone.pem does not exist"),
    "port": (["--port", "99999"], "must be at most 65535"),
    "keys": (["--api-key-file", "gone.txt"], "gone.txt cannot be read"),
    "run": (["--port", "18273"], "no_such_run is not a run"),
}


@pytest.mark.parametrize(("options", "message"), ERRORS.values(), ids=ERRORS)
def test_wrong_command_lines_have_one_sentence(options: list[str], message: str, tmp_path: Path,
                                               monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["serve", "no_such_run", *options]) == 2
    error = capsys.readouterr().err
    assert re.search(message, error) and "Traceback" not in error


def test_a_used_port_is_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as used:
        assert main(["serve", "no_such_run", "--port", str(used.getsockname()[1])]) == 2
    assert "cannot be listened on" in capsys.readouterr().err


SCRIPT = """
import sys
sys.path.insert(0, {tests!r})
from doubles import make_plan
from omnikit.inference import session
from omnikit.cli import main
session.load_plan = lambda folder: make_plan({tokenizer!r}, steps=1)
sys.exit(main(["serve", {run!r}, "--port", {port!r}, "--name", "echo"]))
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("serve")
    run_stages(make_plan(write_tokenizer(folder), steps=1), folder / "run", "")
    return folder


def free_port() -> str:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return str(server.getsockname()[1])


def test_a_run_is_served_until_sigterm(run: Path) -> None:
    port = free_port()
    script = SCRIPT.format(tests=str(Path(__file__).parents[1]), tokenizer=str(run / "tokenizer.json"), run=str(run / "run"),
                           port=port)
    process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        transport = httpx.HTTPTransport(retries=8)  # refused until the server is there
        with httpx.Client(transport=transport, base_url=f"http://127.0.0.1:{port}", timeout=20) as client:
            assert process.stdout and f"echo is served at http://127.0.0.1:{port} (page)" in process.stdout.readline()
            found = client.post("/v1/chat/completions", json={"messages": [{"role": "user", "content": "one two"}]})
            process.send_signal(signal.SIGTERM)
            assert process.wait(20) == 0
    finally:
        process.kill()
    _, log = process.communicate()
    assert found.json()["model"] == "echo" and '"message": "draining"' in log
