"""Tokenizers by reference: a name in `conf/tokenizer`, a folder, a file, or a model id in the local cache.

Uses no template and no model; transformers is imported when a tokenizer is loaded.
"""

from __future__ import annotations

import logging
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from omnikit.errors import ConfigError, nearest
from omnikit.recipe.model_folder import check_tokenizer, missing_package
from omnikit.recipe.placeholders import placeholder
from omnikit.registry import conf_file, conf_folders

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

PAD = "<pad>"
FILES = ("tokenizer.json", "tokenizer.model", "spiece.model", "tekken.json", "qwen.tiktoken", "tiktoken.model",
         "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "vocab.json", "merges.txt", "vocab.txt",
         "chat_template.jinja", "chat_template.json")  # as transformers saves tokenizers


def load_tokenizer(reference: str) -> PreTrainedTokenizerBase:
    """Load a tokenizer, never from the network.

    Args:
        reference: "tiny" (a file of `conf/tokenizer`, without .json), a folder as transformers saves it, a .json file
            of the tokenizers library, or a model id whose files are already in the local cache.

    Raises:
        ConfigError: there is nothing under that reference, or it is no tokenizer.
    """
    path = conf_file("tokenizer", f"{reference}.json") or Path(reference).expanduser()
    if path.is_file():
        return _from_file(path, reference)
    if path.is_dir():
        check_tokenizer(path)
    from transformers.models.auto.tokenization_auto import AutoTokenizer

    try:
        tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(
            str(path) if path.is_dir() else reference, local_files_only=True, trust_remote_code=False)
    except Exception as error:  # transformers raises OSError, ValueError, KeyError … for what is not a tokenizer
        raise ConfigError(_missing(reference, path)) from error
    return _without_dropout(tokenizer, reference)


def _without_dropout(tokenizer: PreTrainedTokenizerBase, reference: str) -> PreTrainedTokenizerBase:
    """Switch off merges that are left out at random: a text must have the same ids whenever it is read."""
    model = getattr(getattr(tokenizer, "backend_tokenizer", None), "model", None)
    if getattr(model, "dropout", None):
        logging.getLogger(__name__).warning("tokenizer %r leaves out merges at random (dropout %g), which is switched off.",
                                            reference, model.dropout)  # type: ignore[union-attr]  # it has one
        model.dropout = None  # type: ignore[union-attr]  # likewise
    return tokenizer


def _from_file(path: Path, reference: str) -> PreTrainedTokenizerBase:
    if wrong := placeholder(path):
        raise ConfigError(f"tokenizer {reference!r}: {path} {wrong}.")
    from tokenizers import Tokenizer
    from transformers import PreTrainedTokenizerFast

    try:
        fast = Tokenizer.from_file(str(path))
    except Exception as error:  # the tokenizers library raises plain Exception for whatever it cannot read
        raise ConfigError(f"tokenizer {reference!r}: {path} is not a file of the tokenizers library"
                          f" ({error}).") from error
    pad = {"pad_token": PAD} if fast.token_to_id(PAD) is not None else {}
    made = PreTrainedTokenizerFast(tokenizer_object=fast, **pad)  # type: ignore[no-untyped-call]  # transformers has none here
    return _without_dropout(made, reference)


def _missing(reference: str, path: Path) -> str:
    if package := missing_package(path):
        return (f"tokenizer {reference!r}: {path} holds {package[0]}, which the package {package[1]} reads, and that is not"
                f" installed; run `pip install {package[1]}`.")
    if path.is_dir():
        return f"tokenizer {reference!r}: the folder {path} holds no tokenizer.json that transformers can load."
    known = sorted({p.stem for _, folder in conf_folders() for p in (folder / "tokenizer").glob("*.json")})
    return (f"tokenizer {reference!r} is not a name of conf/tokenizer ({', '.join(known) or 'none there'}), not a"
            f" folder, not a file and not in the local cache; set backbone.tokenizer to a folder with tokenizer.json."
            f"{nearest(reference, known)}")


def hold_tokenizer(reference: str | None, run: Path) -> None:
    """Copy a tokenizer that lies in a folder or file into a run, which needs that place no more; a name stays a name."""
    path, own = Path(reference or "").expanduser(), run / "tokenizer"
    if not reference or conf_file("tokenizer", f"{reference}.json") or not path.exists() or own.resolve() in (
            path.resolve(), path.resolve().parent):
        return
    partial = run / ".tokenizer.partial"
    shutil.rmtree(partial, ignore_errors=True)
    copy_tokenizer(reference, partial)
    shutil.rmtree(own, ignore_errors=True)
    partial.rename(own)


def copy_tokenizer(reference: str, folder: Path) -> str:
    """Copy a tokenizer's files into a folder; give the name of its tokenizer.json there, or "" where there is only a folder.

    Raises:
        ConfigError: there is no tokenizer under that reference.
    """
    folder.mkdir(exist_ok=True)
    path = conf_file("tokenizer", f"{reference}.json") or Path(reference).expanduser()
    if path.is_file() and path.name != "tokenizer.json":
        shutil.copyfile(path, folder / "tokenizer.json")
    elif path.exists():
        for file in (path if path.is_dir() else path.parent).iterdir():
            if file.name in FILES:
                shutil.copyfile(file, folder / file.name)
    else:
        load_tokenizer(reference).save_pretrained(folder)
    return "tokenizer.json" if (folder / "tokenizer.json").is_file() else ""
