"""`omnikit data build NAME key=value …`: make a dataset. `omnikit data inspect RECIPE`: show one batch of a stage.
`omnikit data check RECIPE`: name every bad row before training; `omnikit data check FILE`: recognise a dataset's format.
`omnikit data convert IN OUT`: write a dataset in another format."""

import sys
import time
from argparse import Namespace
from pathlib import Path
from typing import TYPE_CHECKING

from omnikit.commands.arguments import Parser, at_least_one
from omnikit.errors import ConfigError, nearest
from omnikit.recipe import presets
from omnikit.recipe.quoting import pasted
from omnikit.recipe.yaml_text import parse_yaml
from omnikit.text_table import columns

if TYPE_CHECKING:
    from omnikit.contracts.types import BuildReport

EXAMPLES = ("examples: omnikit data build spoken_instructions source=alpaca.json out=data/instruct_s2s;"
            " omnikit data inspect llama_omni/tiny --stage speak --html batch.html;"
            " omnikit data check llama_omni/tiny --report bad.json")
COMMANDS = {"build": "make a dataset", "inspect": "show one batch of a stage", "check": "name every bad row of a recipe, or"
            " recognise a file's format", "convert": "write a dataset in another format"}


def run(argv: list[str]) -> int:
    """Run one of the commands about data."""
    if argv[:1] == ["build"]:
        return _build(_build_parser().parse_args(argv[1:]))
    if argv[:1] == ["inspect"]:
        return _inspect(_inspect_parser().parse_intermixed_args(argv[1:]))
    if argv[:1] == ["check"]:
        return _check(_check_parser().parse_intermixed_args(argv[1:]))
    if argv[:1] == ["convert"]:
        return _convert(_convert_parser().parse_args(argv[1:]))
    parser = Parser("omnikit data", usage="omnikit data build NAME key=value …\n       omnikit data inspect RECIPE [override …]"
                    " [--stage NAME] [--rows N] [--html FILE]\n       omnikit data check RECIPE [dataset …] [override …]"
                    " [--report FILE]\n       omnikit data check FILE\n       omnikit data convert IN OUT [key=value …]"
                    " [--from READER] [--to READER]",
                    description=__doc__, epilog=EXAMPLES)
    parser.add_argument("command", choices=COMMANDS, help="; ".join(f"{word}: {line}" for word, line in COMMANDS.items()))
    parser.parse_args(argv)
    return 0


def _build_parser() -> Parser:
    parser = Parser("omnikit data build", description="Make a dataset; the same command resumes where it was stopped.")
    parser.add_argument("builder", help=f"one of {', '.join(presets.names('builder')) or 'none installed'};"
                        " omnikit show builder/NAME lists its options")
    parser.add_argument("options", nargs="*", metavar="key=value", help="out=FOLDER and the builder's options")
    return parser


def _inspect_parser() -> Parser:
    parser = Parser("omnikit data inspect", description="Show one batch of a stage: where each token comes from, which head"
                    " is supervised by it, and what the other heads predict.")
    parser.add_argument("recipe", help="a name such as llama_omni/tiny, or a YAML file")
    parser.add_argument("overrides", nargs="*", default=[], help="as for train")
    parser.add_argument("--stage", help="by default the first that trains heads")
    parser.add_argument("--rows", type=at_least_one, default=4, help="rows of the batch (4)")
    parser.add_argument("--html", type=Path, help="write the batch to this file, too; it needs nothing beside it")
    return parser


def _check_parser() -> Parser:
    parser = Parser("omnikit data check", description="Read every row of a recipe's datasets as training does, without the"
                    " model; name and count every bad one. The exit code is 1 if there is any.")
    parser.add_argument("recipe", help="a name such as llama_omni/tiny, or a YAML file; or the file or folder of a dataset,"
                        " whose format is recognised")
    parser.add_argument("words", nargs="*", default=[], metavar="dataset", help="datasets of the recipe (all), and overrides as"
                        " for train")
    parser.add_argument("--report", type=Path, metavar="FILE", help="write all problems to this JSON file, too")
    parser.add_argument("--workers", type=at_least_one, default=0, help="read in so many other processes (none)")
    return parser


def _convert_parser() -> Parser:
    parser = Parser("omnikit data convert", description="Write a dataset in another format; embedded media become files beside"
                    " formats that name files.", epilog="examples: omnikit data convert llava.json rows.jsonl;"
                    " omnikit data convert rows.jsonl shards --to webdataset")
    parser.add_argument("source", metavar="IN", type=Path, help="the file or folder of a dataset")
    parser.add_argument("out", metavar="OUT", type=Path, help="what is written; its ending stands for a format")
    parser.add_argument("options", nargs="*", metavar="key=value", help="fields of IN's reader, such as root=FOLDER")
    parser.add_argument("--from", dest="reader", metavar="READER", help="the reader of IN (recognised)")
    parser.add_argument("--to", metavar="READER", help="the reader whose format is written (by OUT's ending)")
    return parser


def _convert(arguments: Namespace) -> int:
    from omnikit.commands import data_convert

    return data_convert.run(arguments.source, arguments.out, _values(arguments.options), reader=arguments.reader,
                            to=arguments.to)


def _check(arguments: Namespace) -> int:
    from omnikit.commands import data_check

    return data_check.run(arguments.recipe, arguments.words, arguments.report, arguments.workers)


def _inspect(arguments: Namespace) -> int:
    from omnikit.commands import data_inspect

    return data_inspect.run(arguments.recipe, arguments.overrides, arguments.stage, arguments.rows, arguments.html)


def _build(arguments: Namespace) -> int:
    from omnikit.inference.build_dataset import build_dataset

    values = _values(arguments.options)
    out = values.pop("out", None)
    start = time.monotonic()
    built = build_dataset(arguments.builder, values, out if isinstance(out, str) else None)
    sys.stdout.write(_report(built, str(out), time.monotonic() - start))
    return 0


def _values(arguments: list[str]) -> dict[str, object]:
    """Read key=value arguments as YAML reads values."""
    import yaml

    values: dict[str, object] = {}
    for argument in arguments:
        key, equals, text = argument.partition("=")
        if not equals or not key.isidentifier():
            raise ConfigError(f"{argument!r} is not an option; write key=value, for example seed=1."
                              f"{nearest(argument, ['out=', 'source='])}")
        try:
            read = parse_yaml(f"value: {text}")
        except (ValueError, yaml.YAMLError) as error:
            raise ConfigError(f"{key} is {text!r}, which is not a value: {str(error).splitlines()[0]}.") from error
        if list(read) != ["value"]:
            raise ConfigError(f"{key} is {text!r}, which is not one value; put it in double quotes.")
        values[key] = read["value"]
    return values


def _report(built: "BuildReport", out: str, seconds: float) -> str:
    lines = [("rows", str(built.rows), f"{built.question_seconds / 60:.1f} min of questions,"
             f" {built.answer_seconds / 60:.1f} min of answers"),
            ("made now", str(built.made), f"{built.made / seconds:.1f} a second, {seconds:.1f} s in all"),
            ("rejected", str(sum(built.rejected.values())), "")]
    lines += [("", str(count), reason) for reason, count in built.rejected.items()]
    return (f"{columns(lines)}\nThe dataset is {out}; train on it with data/NAME=messages_jsonl"
            f" {pasted('data.NAME.path', f'{out}/train.jsonl')} 'data.NAME.provides=[{','.join(built.provides)}]'\n")
