"""`omnikit tokenizer extend FOLDER --corpus FILE … --pieces N --out DIR`: more Chinese pieces for a language model."""

import sys
from contextlib import nullcontext
from pathlib import Path

from omnikit.commands.arguments import Parser, at_least_one
from omnikit.errors import ConfigError, RunError

EXAMPLE = "example: omnikit tokenizer extend Mixtral-8x7B --corpus zh.txt --pieces 19747 --rows 51760 --out Mixtral-zh"


def run(argv: list[str]) -> int:
    """Extend; the only command so far."""
    parser = Parser("omnikit tokenizer", description=__doc__, epilog=EXAMPLE)
    parser.add_argument("command", choices=["extend"], help="train new pieces on text and give them rows in the checkpoint")
    parser.add_argument("source", type=Path, help="a checkpoint's folder (config.json, weights, tokenizer.json), or a"
                        " tokenizer.json alone")
    parser.add_argument("--corpus", nargs="+", type=Path, required=True, metavar="FILE", help="Chinese text, UTF-8; every"
                        " twentieth line with Chinese is measured only")
    parser.add_argument("--pieces", type=at_least_one, required=True, help="new pieces")
    parser.add_argument("--rows", type=at_least_one, help="rows of both matrices, where they are more than the ids")
    parser.add_argument("--out", type=Path, required=True, help="the folder to write; it must not be there yet")
    arguments = parser.parse_args(argv)
    source, out = arguments.source.expanduser(), arguments.out
    if out.exists():
        raise RunError(f"--out is {out}, which is there already; name a folder that is not, or remove it.")
    folder = source if source.is_dir() and (source / "config.json").is_file() else None
    if arguments.rows and folder is None:
        raise ConfigError(f"--rows is {arguments.rows}, but {source} has no config.json and so no matrices; leave --rows out,"
                          " or give a checkpoint's folder.")

    from omnikit.data.text.vocabulary import extend
    from omnikit.progress import progress
    from omnikit.training.extend_embeddings import write  # needs torch

    extension = extend(source / "tokenizer.json" if source.is_dir() else source, arguments.corpus, arguments.pieces)
    with progress("write") if folder else nullcontext(lambda fraction: None) as report:
        rows = write(folder, extension, out, arguments.rows, report)
    matrices = f", {rows} rows in its matrices" if folder else ""
    sys.stdout.write(f"{out} has {extension.size} ids, {len(extension.old_ids)} of them new{matrices}.\n"
                     f"Tokens per Chinese character: {extension.before:.2f} before, {extension.after:.2f} now"
                     f" ({extension.characters} characters of the corpus that were not trained on).\n")
    values = {"weights": out, "tokenizer": out, "vocabulary": rows} if folder else {"tokenizer": out / "tokenizer.json",
                                                                                  "vocabulary": rows}
    sys.stdout.write(f"Use it with: {' '.join(f'backbone.{name}={value}' for name, value in values.items())}\n")
    return 0
