"""`omnikit serve RUN`: serve a trained run: OpenAI's routes for chat, speech and Realtime, and a page to talk to it."""

import os
import sys
from argparse import Namespace
from dataclasses import replace
from importlib.util import find_spec
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
    arguments = _parser().parse_args(argv)
    address, keys = _address(arguments), _keys(arguments.api_key_file)
    _check(arguments, open_to_all=not keys)
    (_serve_ray if arguments.engine == "ray" else _serve_here)(arguments, address, keys)
    return 0


def _parser() -> Parser:
    parser = Parser("omnikit serve", description=__doc__, epilog=EXAMPLE)
    parser.add_argument("run", help="a run's folder, a link to one, or a recipe's name")
    parser.add_argument("--host", default="127.0.0.1", help="address (default 127.0.0.1: reached from this machine only)")
    parser.add_argument("--port", type=at_least_one, default=8000, help="port (default 8000)")
    parser.add_argument("--name", help="the model's name for clients (default: the recipe's)")
    parser.add_argument("--api-key-file", type=Path, metavar="FILE", help=f"keys that open the server, one a line (or {KEYS})")
    parser.add_argument("--origin", action="append", default=[], metavar="URL", help="web page that may use the server beside"
                        " its own, for example https://example.org; several: one --origin for each")
    parser.add_argument("--tls-cert", type=Path, metavar="FILE", help="certificate chain (PEM); serves https and wss")
    parser.add_argument("--tls-key", type=Path, metavar="FILE", help="private key of --tls-cert (PEM)")
    parser.add_argument("--dtype", help="dtype of the backbone's weights, for example bfloat16")
    parser.add_argument("--load-in", choices=("8bit", "4bit"), help="hold the backbone's matrices in 8 or 4 bits")
    parser.add_argument("--engine", choices=("local", "ray"), default="local", help="local: this process; ray: replicas of Ray"
                        " Serve, here or on the cluster of RAY_ADDRESS")
    parser.add_argument("--replicas", type=at_least_one, metavar="N", help="replicas of --engine ray (default 2)")
    for option, (_, what) in LIMITS.items():
        parser.add_argument(option, type=at_least_one, metavar="N", help=f"at most so many {what}")
    return parser


def _serve_here(arguments: Namespace, address: "Address", keys: tuple[str, ...]) -> None:
    from omnikit.inference.session import load
    from omnikit.serving.server import bind
    from omnikit.serving.settings import Limits
    from omnikit.serving.start import serve

    listener = bind(address, Limits().send_seconds)  # before the weights are read
    session = load(arguments.run, dtype=arguments.dtype, load_in=arguments.load_in)
    settings = _settings(arguments, arguments.name or session.plan.recipe.name, keys)
    _print_address(settings.name, address)
    serve(session, settings, address, listener)


def _serve_ray(arguments: Namespace, address: "Address", keys: tuple[str, ...]) -> None:
    from omnikit.serving.ray_serve import Replicas, serve_with_ray
    from omnikit.store.runs import find, load_plan

    folder = find(arguments.run)
    settings = _settings(arguments, arguments.name or load_plan(folder).recipe.name, keys)
    _print_address(settings.name, address)
    serve_with_ray(Replicas(str(folder), arguments.replicas or 2, arguments.dtype, arguments.load_in), settings, address)


def _print_address(name: str, address: "Address") -> None:
    sys.stdout.write(f"{name} is served at {address.url} (page) and {address.url}/v1 (OpenAI's routes)\n")
    sys.stdout.flush()


def _check(arguments: Namespace, *, open_to_all: bool) -> None:
    """Refuse what is missing or would be ignored; warn of a server that anybody may use."""
    if arguments.replicas and arguments.engine != "ray":
        raise ConfigError("--replicas is for --engine ray; add it, or leave --replicas out.")
    needed = ("fastapi", "uvicorn", "websockets", "prometheus_client", *(["ray"] if arguments.engine == "ray" else []))
    if missing := [name for name in needed if find_spec(name) is None]:
        raise ConfigError(f"omnikit serve needs {', '.join(missing)}, which is not installed; pip install"
                          f" 'omnikit[{'ray,' if 'ray' in missing else ''}serve]'.")
    if arguments.host not in LOCAL and open_to_all:
        sys.stderr.write(f"omnikit: warning: {arguments.host} is reached from other machines and no API key is set; set one"
                         f" with --api-key-file or {KEYS}.\n")


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
