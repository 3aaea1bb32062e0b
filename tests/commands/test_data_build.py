"""`omnikit data build` prints what to train with, for a shell and for Hydra to read back."""

import shlex

from hydra.core.override_parser.overrides_parser import OverridesParser

from omnikit.commands.data import _report
from omnikit.contracts.types import BuildReport


def test_printed_overrides_are_read_back_as_they_were_meant() -> None:
    built = BuildReport(rows=1, made=1, rejected={}, question_seconds=1.0, answer_seconds=1.0, provides=("text", "answer"))
    printed = shlex.split(_report(built, 'a b/ü"', 1.0).partition("train on it with ")[2])
    read = {one.key_or_group: one.value() for one in OverridesParser.create().parse_overrides(printed)}
    assert read == {"data/NAME": "messages_jsonl", "data.NAME.path": 'a b/ü"/train.jsonl',
                    "data.NAME.provides": ["text", "answer"]}
