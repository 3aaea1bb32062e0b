"""Command lines: what argparse would drop silently is refused."""

import pytest

from omnikit.commands.arguments import Parser
from omnikit.errors import ConfigError


def parser() -> Parser:
    found = Parser("omnikit x")
    found.add_argument("--audio")
    found.add_argument("--image", action="append")
    found.add_argument("words", nargs="*")
    return found


def test_an_option_that_is_given_twice_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"omnikit x: --audio is given twice \(a.wav and b.wav\); give it once"):
        parser().parse_args(["--audio", "a.wav", "--audio", "b.wav"])


def test_an_option_that_collects_values_may_be_repeated() -> None:
    found = parser().parse_intermixed_args(["--image", "a", "one", "--image", "b", "--audio", "c", "two"])
    assert (found.image, found.audio, found.words) == (["a", "b"], "c", ["one", "two"])


def test_one_parser_reads_several_command_lines() -> None:
    own = parser()
    assert [own.parse_args(["--audio", name]).audio for name in ("a", "b")] == ["a", "b"]
