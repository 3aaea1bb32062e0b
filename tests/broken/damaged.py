# ruff: noqa: E501  # a table reads best with a mistake in a line
"""What may happen to a run's folder: each row is one damage, to a run that can be talked to and trained on without it."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

from broken.table import CHAT, WEIGHTS, Broken, cut, remove, write

TRAIN = "train text.yaml run=run"
RUN, STAGE, DONE = "run/manifest.json", "run/understand/manifest.json", "run/understand/done"
READING = ("eval run --data rows.jsonl", "bundle run --out other", "replay run --check", "diff run run seed=1")  # commands
AGAIN, BACK = "write it again with omnikit train", "again with --retrain understand"


def binary(name: str) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        (folder / name).write_bytes(b"\xff\xfe\x00")
    return damage


def folder_of(name: str) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        (folder / name).unlink()
        (folder / name).mkdir()
    return damage


def replaced(name: str, by: Callable[[Path], object]) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        shutil.rmtree(folder / name)
        by(folder / name)
    return damage


def dangling(path: Path) -> None:
    path.symlink_to("not_there")


def circle(path: Path) -> None:
    path.symlink_to(path.name)


def damaged(argv: str, place: str, fix: str, damage: Callable[[Path], None]) -> Broken:
    return Broken("damaged run", argv, place, fix, damage=damage)


DAMAGED = [
    damaged(CHAT, "run/manifest.json holds list []", AGAIN, write(RUN, "[]")),
    damaged(CHAT, "run/manifest.json cannot be read (Expecting value", AGAIN, write(RUN, '{"recipe": ')),
    damaged(CHAT, "run/manifest.json cannot be read ('utf-8'", AGAIN, binary(RUN)),
    damaged(CHAT, "run/manifest.json cannot be read (Is a directory)", AGAIN, folder_of(RUN)),
    damaged(CHAT, "run/manifest.json cannot be read (No such file", AGAIN, remove(RUN)),
    damaged(CHAT, "run/manifest.json has recipe '3'", AGAIN, write(RUN, '{"recipe": 3}')),
    damaged(CHAT, "run/config.yaml cannot be read (Is a directory)", "fix the file", folder_of("run/config.yaml")),
    damaged(CHAT, "run/config.yaml is not YAML", "fix the file", binary("run/config.yaml")),
    damaged(CHAT, "run/config.yaml is not what the last training wrote", "take it up with omnikit train", write("run/config.yaml", "seed: 1")),
    damaged(CHAT, "understand/done cannot be read (not a text)", BACK, binary(DONE)),
    damaged(CHAT, "understand/done holds '0123'", BACK, write(DONE, "0123")),
    damaged(CHAT, "understand/done holds ''", BACK, write(DONE, "")),
    damaged(CHAT, "understand/done cannot be read (Is a directory)", BACK, folder_of(DONE)),
    damaged(CHAT, "weights.safetensors is ", "train its stage", folder_of(WEIGHTS)),
    damaged(CHAT, "weights.safetensors is not a whole safetensors file", "train its stage again", write(WEIGHTS, "")),
    damaged("chat run --text two", "understand is a file, but a stage is a folder", "move it away", replaced("run/understand", Path.touch)),
    damaged(TRAIN, "understand/manifest.json holds list []", BACK, write(STAGE, "[]")),
    damaged(TRAIN, "understand/manifest.json cannot be read (Expecting value", BACK, write(STAGE, '{"recipe": ')),
    damaged(TRAIN, "understand/manifest.json cannot be read (Is a directory)", BACK, folder_of(STAGE)),
    damaged(TRAIN, "understand/manifest.json cannot be read (No such file", BACK, remove(STAGE)),
    damaged(TRAIN, "understand/manifest.json has facts 'None'", BACK, write(STAGE, "{}")),
    damaged(TRAIN, "understand/done cannot be read (not a text)", BACK, binary(DONE)),
    damaged(TRAIN, "understand/done holds '0123'", BACK, write(DONE, "0123")),
    damaged(TRAIN, "understand/done and manifest.json beside it are not of one training", BACK, write(DONE, "0123456789abcdef")),
    damaged(TRAIN, "understand is a file, but a stage is a folder", "move it away", replaced("run/understand", Path.touch)),
    damaged(TRAIN, "understand is a link to not_there", BACK, replaced("run/understand", dangling)),
    damaged(TRAIN, "understand is a link to understand", BACK, replaced("run/understand", circle)),
    damaged(TRAIN, "understand is there but is not a finished stage", "choose another folder", replaced("run/understand", os.mkdir)),
    damaged(TRAIN, "weights.safetensors is missing", BACK, remove(WEIGHTS)),
    damaged(TRAIN, "weights.safetensors is ", BACK, folder_of(WEIGHTS)),
    damaged(TRAIN, "weights.safetensors is not a whole safetensors file", BACK, cut),
    damaged(TRAIN, "run/config.yaml cannot be written: Is a directory", "choose another folder", folder_of("run/config.yaml")),
    *(damaged(command, "run/manifest.json holds list []", AGAIN, write(RUN, "[]")) for command in READING),
    *(damaged(command, "run/manifest.json cannot be read (maximum recursion", AGAIN, write(RUN, "[" * 100_000)) for command in READING),
    *(damaged(command, "understand is a link to understand", BACK, replaced("run/understand", circle)) for command in READING),
    *(damaged(command, "understand/manifest.json holds list []", BACK, write(STAGE, "[]")) for command in (CHAT, *READING)),
    *(damaged(command, "understand/manifest.json cannot be read ('utf-8'", BACK, binary(STAGE)) for command in (CHAT, *READING)),
    *(damaged(command, "weights.safetensors is not a whole safetensors file", "train its stage again", cut) for command in READING[:2]),
    damaged("chat run/understand --text two", "it is a stage of run", "name that folder", lambda folder: None),
    damaged("chat rows.jsonl --text two", "it is a file, but a run is a folder", "name the run's folder", lambda folder: None),
    damaged("chat . --text two", "is a folder of runs, not a run", "give one of them: run.", lambda folder: None),
    damaged("chat . --text two", "it is the folder of a model", "train with backbone.weights=.", write("config.json", "{}")),
    damaged("chat away --text two", "it is a link to not_there", "link it again", lambda folder: dangling(folder / "away")),
    damaged("chat away --text two", "it is a link to away", "link it again", lambda folder: circle(folder / "away")),
    damaged("train run", "run/manifest.json cannot be read (KeyError: 'recipe')", AGAIN, write(RUN, "{}")),
    damaged(f"{TRAIN} --retrain understnd", "--retrain is 'understnd'", "Did you mean 'understand'?", lambda folder: None),
    damaged(f"{TRAIN} stages.understand.optim.lr=0.5", "with stages.understand.optim.lr 0.001, which is 0.5 now", "add --retrain understand", lambda folder: None),
    damaged(f"{TRAIN} stages.understand.trainer.accelerator=gpu --retrain understand", "stages.understand.trainer.accelerator is gpu, but there is no GPU here", "set it to auto or cpu", lambda folder: None),
    damaged("check text.yaml stages.understand.trainer.accelerator=gpu", "stages.understand.trainer.accelerator is gpu, but there is no GPU here", "set it to auto or cpu", lambda folder: None),
]
