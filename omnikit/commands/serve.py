"""`omnikit serve RUN`: serve a trained run: OpenAI's routes for chat, speech and Realtime, and a page to talk to it."""

import os
import sys
from argparse import Namespace
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from omnikit.commands.arguments import Parser, at_least_one
from omnikit.errors import ConfigError, RunError

if TYPE_CHECKING:
    from omnikit.serving.address import Address
    from omnikit.serving.settings import Settings

EXAMPLE = "example: omnikit serve llama_omni/tiny --port 8000"
KEYS = "OMNIKIT_API_KEYS"  # environment variable: keys with commas between
LOCAL = ("127.0.0.1", "localhost", "::1")
LIMITS = {  # option → field of Limits, what it limits
    "--max-sessions": ("sessions", "Realtime sessions at the same time"),
    "--max-requests": ("requests", "requests at the same time"),
    "--max-audio-seconds": ("audio_seconds", "seconds of one audio"),
    "--requests-per-minute": ("requests_per_minute", "requests a minute of one client"),
    "--drain-seconds": ("drain_seconds", "seconds that running answers have when the server is stopped"),
}


def run(argv: list[str]) -> int:
    """Serve until SIGTERM or Ctrl-C; the first waits for the answers that run."""
    parser = Parser("omnikit serve", description=__doc__, epilog=EXAMPLE)
    parser.add_argument("run", help="a run's folder, a link to one, or a recipe's name")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default 127.0.0.1: this machine only)")
    parser.add_argument("--port", type=at_least_one, default=8000, help="port (default 8000)")
    parser.add_argument("--name", help="the model's name for clients (default: the recipe's)")
    parser.add_argument("--api-key-file", type=Path, metavar="FILE", help=f"keys that open the server, one a line (or {KEYS})")
    parser.add_argument("--origin", action="append", default=[], metavar="URL", help="web page that may use the server beside"
                        " its own, for example https://example.org; several: one --origin for each")
    parser.add_argument("--tls-cert", type=Path, metavar="FILE", help="certificate chain (PEM); serves https and wss")
    parser.add_argument("--tls-key", type=Path, metavar="FILE", help="private key of --tls-cert (PEM)")
    parser.add_argument("--dtype", help="dtype of the backbone's weights, for example bfloat16")
    parser.add_argument("--load-in", choices=("8bit", "4bit"), help="hold the backbone's matrices in 8 or 4 bits")
    for option, (_, what) in LIMITS.items():
        parser.add_argument(option, type=at_least_one, metavar="N", help=f"at most so many {what}")
    arguments = parser.parse_args(argv)
    address, keys = _address(arguments), _keys(arguments.api_key_file)
    _require_packages()
    if arguments.host not in LOCAL and not keys:
        sys.stderr.write(f"omnikit: warning: {arguments.host} is reached from other machines and no API key is set; set one"
                         f" with --api-key-file or {KEYS}.\n")

    from omnikit.inference.session import load
    from omnikit.serving.server import bind
    from omnikit.serving.settings import Limits
    from omnikit.serving.start import serve

    listener = bind(address, Limits().send_seconds)  # before the weights are read
    session = load(arguments.run, dtype=arguments.dtype, load_in=arguments.load_in)
    settings = _settings(arguments, arguments.name or session.plan.recipe.name, keys)
    sys.stdout.write(f"{settings.name} is served at {address.url} (page) and {address.url}/v1 (OpenAI's routes)\n")
    sys.stdout.flush()
    serve(session, settings, address, listener)
    return 0


def _address(arguments: Namespace) -> "Address":
    if bool(arguments.tls_cert) != bool(arguments.tls_key):
        raise ConfigError("--tls-cert and --tls-key belong together; give both, or neither.")
    for path in filter(None, (arguments.tls_cert, arguments.tls_key)):
        if not path.is_file():
            raise RunError(f"{path} does not exist, but must be a PEM file.")
    if arguments.port > 65535:
        raise ConfigError(f"--port is {arguments.port}, but must be at most 65535.")

    from omnikit.serving.address import Address

    return Address(arguments.host, arguments.port, arguments.tls_cert, arguments.tls_key)


def _keys(path: Path | None) -> tuple[str, ...]:
    if path is None:
        return tuple(filter(None, (key.strip() for key in os.environ.get(KEYS, "").split(","))))
    try:
        found = tuple(filter(None, (line.strip() for line in path.read_text(encoding="utf-8").splitlines())))
    except (OSError, UnicodeDecodeError) as error:
        raise RunError(f"{path} cannot be read ({getattr(error, 'strerror', None) or 'not UTF-8'}), but must hold API keys, one"
                       " a line.") from None
    if not found:
        raise RunError(f"{path} is empty, but must hold API keys, one a line.")
    return found


def _settings(arguments: Namespace, name: str, keys: tuple[str, ...]) -> "Settings":
    from omnikit.serving.settings import Limits, Settings

    given = {field: getattr(arguments, option[2:].replace("-", "_")) for option, (field, _) in LIMITS.items()}
    limits = replace(Limits(), **{field: value for field, value in given.items() if value is not None})
    return Settings(name, keys, tuple(arguments.origin), limits)


def _require_packages() -> None:
    from importlib.util import find_spec

    missing = [name for name in ("fastapi", "uvicorn", "websockets", "prometheus_client") if find_spec(name) is None]
    if missing:
        raise ConfigError(f"omnikit serve needs {', '.join(missing)}, which is not installed; pip install 'omnikit[serve]'.")
