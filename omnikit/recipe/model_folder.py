"""Files of a folder as transformers saves models and tokenizers, read as JSON: no torch, no network, no third-party package."""

import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from omnikit.errors import ConfigError
from omnikit.recipe.placeholders import placeholder

NUMBERED = re.compile(r"(reserved|unused|special|extra)\w*\d", re.IGNORECASE)  # tokens that stand for nothing yet
TOKENIZER_FILES = ("tokenizer.json", "tokenizer.model", "spiece.model", "tekken.json", "vocab.json", "vocab.txt",
                   "qwen.tiktoken", "tiktoken.model")  # one of them is enough
PACKAGES = {"tokenizer.model": "sentencepiece", "spiece.model": "sentencepiece", "qwen.tiktoken": "tiktoken",
            "tiktoken.model": "tiktoken", "tekken.json": "mistral_common"}
VOCABULARY_FILES = ("tokenizer.json", "vocab.json", "tekken.json")
LARGEST = 32 << 20  # bytes of any other file
NAMED_TOKENS = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")


def model_folder(reference: str) -> Path | None:
    """Give the folder of a path, or of a model id in the local download cache; None where there is none."""
    path = Path(reference).expanduser()
    if path.is_dir():
        return path
    if path.is_absolute() or len(path.parts) != 2:
        return None
    cached = _download_cache() / f"models--{reference.replace('/', '--')}"
    try:
        return cached / "snapshots" / (cached / "refs" / "main").read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        return None


def check_tokenizer(folder: Path) -> None:
    """Raise ConfigError where the file that a folder's tokenizer is read from is a placeholder."""
    first = next((path for name in TOKENIZER_FILES if (path := folder / name).is_file() or path.is_symlink()), None)
    if first is not None and (wrong := placeholder(first)):
        raise ConfigError(f"{first} {wrong}.")


def missing_package(folder: Path) -> tuple[str, str] | None:
    """Give the file of a tokenizer and the package that reads it, where that package is needed and not installed."""
    if not folder.is_dir() or (folder / "tokenizer.json").is_file():
        return None
    for name, package in PACKAGES.items():
        if (folder / name).is_file() and find_spec(package) is None:
            return name, package
    return None


def read_object(path: Path) -> dict[str, object]:
    """Give a JSON file's mapping; {} where there is no such file.

    Raises:
        ConfigError: it is not JSON, not a mapping, has a key twice, or is too large for what it is.
    """
    vocabulary = path.name in VOCABULARY_FILES  # large, and read often: a key that is there twice is not looked for
    try:
        if not vocabulary and path.stat().st_size > LARGEST:
            raise ConfigError(f"{path} has {path.stat().st_size >> 20} MiB, but such a file has at most {LARGEST >> 20};"
                              " copy the file again.")
        found = json.loads(path.read_text(encoding="utf-8"), object_pairs_hook=None if vocabulary else _each_key_once)
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, RecursionError) as error:
        if wrong := placeholder(path):
            raise ConfigError(f"{path} {wrong}.") from error
        raise ConfigError(f"{path} is not JSON ({str(error)[:200]}); copy the file again.") from error
    if not isinstance(found, dict):
        raise ConfigError(f"{path} is not a mapping of keys to values; copy the file again.")
    return found


def _each_key_once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) < len(pairs):
        twice = next(key for key, _ in pairs if [other for other, _ in pairs].count(key) > 1)
        raise ValueError(f"the key {twice!r} is there twice")
    return found


@dataclass(frozen=True)
class TokenizerFolder:
    """What the files of a folder state about its tokenizer, without loading it."""

    path: Path

    @property
    def exists(self) -> bool:
        """Whether there is a tokenizer."""
        return any((self.path / name).is_file() for name in TOKENIZER_FILES)

    @property
    def specials(self) -> tuple[str, ...]:
        """Its special tokens, without those that only hold a number's place."""
        found = [str(token["content"]) for token in self._added() if token.get("special")]
        return tuple(dict.fromkeys([*(token for token in found if not NUMBERED.search(token)), *self.named.values()]))

    @property
    def added(self) -> tuple[str, ...]:
        """Tokens beside its model, special or not."""
        return tuple(dict.fromkeys(str(token["content"]) for token in self._added()))

    @property
    def ids(self) -> dict[str, int]:
        """Tokens beside its model → their ids."""
        return {str(token["content"]): index for token in self._added() if isinstance(index := token.get("id"), int)}

    @property
    def named(self) -> dict[str, str]:
        """Its tokens by the names that a chat template uses: bos_token, eos_token, …"""
        content = read_object(self.path / "special_tokens_map.json") | read_object(self.path / "tokenizer_config.json")
        found = {name: _token_text(content.get(name)) for name in NAMED_TOKENS}
        return {name: text for name, text in found.items() if text}

    def text_of(self, index: int) -> str | None:
        """Give the token of an id, where it is one beside the model."""
        return next((str(token["content"]) for token in self._added() if token.get("id") == index), None)

    @property
    def end(self) -> int | None:
        """The id of its end of text, where that is a token beside the model."""
        named = self.named.get("eos_token")
        found = (token.get("id") for token in self._added() if token["content"] == named)
        return next((index for index in found if isinstance(index, int)), None)

    @property
    def chat_template(self) -> str | None:
        """Its chat template; of several the one named "default"."""
        file = self.path / "chat_template.jinja"
        if file.is_file():
            try:
                return file.read_text(encoding="utf-8")
            except (OSError, UnicodeDecodeError) as error:
                raise ConfigError(f"{file} is not a text file ({type(error).__name__}); copy the file again.") from error
        for name in ("tokenizer_config.json", "chat_template.json"):
            found = read_object(self.path / name).get("chat_template")
            if isinstance(found, list):
                found = {one.get("name"): one.get("template") for one in found if isinstance(one, dict)}
            if isinstance(found, dict):
                found = found.get("default")
            if isinstance(found, str):
                return found
        return None

    def _added(self) -> Iterator[dict[str, object]]:
        added = read_object(self.path / "tokenizer.json").get("added_tokens")
        yield from (token for token in (added if isinstance(added, list) else ())
                    if isinstance(token, dict) and isinstance(token.get("content"), str))
        decoder = read_object(self.path / "tokenizer_config.json").get("added_tokens_decoder")
        yield from ({**token, "id": int(index)} for index, token in (decoder.items() if isinstance(decoder, dict) else ())
                    if isinstance(token, dict) and isinstance(token.get("content"), str) and index.isdecimal())


def _token_text(token: object) -> str:
    found = token.get("content") if isinstance(token, dict) else token
    return found if isinstance(found, str) else ""


def _download_cache() -> Path:
    named = os.environ.get("HF_HUB_CACHE")
    home = os.environ.get("HF_HOME") or Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "huggingface"
    return Path(named or Path(home) / "hub").expanduser()
