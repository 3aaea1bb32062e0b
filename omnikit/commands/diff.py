"""`omnikit diff A [overrides] B [overrides]`: what differs between two recipes or runs, and which weights stay valid."""

import json
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING

from omnikit.commands.arguments import Parser
from omnikit.text_table import columns

if TYPE_CHECKING:
    from omnikit.store.diff import Comparison, Side, StageVerdict

WIDTH = 40  # characters of a value that are shown
SHOWN = 3  # reasons in a line


def run(argv: list[str]) -> int:
    """Compare two recipes or runs; one alone is compared with itself under its overrides."""
    parser = Parser("omnikit diff", description=__doc__, epilog="examples: omnikit diff llama_omni/tiny"
                    " stages.speak.optim.lr=1e-4; omnikit diff runs/llama_omni/tiny/latest llama_omni/tiny seed=1")
    parser.add_argument("words", nargs="+", metavar="A [override …] B [override …]", help="recipes, YAML files or run folders,"
                        " each followed by its overrides; without B, A is compared with A under the overrides")
    parser.add_argument("--json", action="store_true", help="print JSON")
    arguments = parser.parse_intermixed_args(argv)

    from omnikit.store.diff import compare, open_sides  # imports Hydra

    first, second = open_sides(arguments.words)
    found = compare(first, second)
    if arguments.json:
        sys.stdout.write(json.dumps({"first": first.title, "second": second.title, **asdict(found)}, indent=1) + "\n")
    else:
        sys.stdout.write(_report(first, second, found))
    return 0


def _report(first: "Side", second: "Side", found: "Comparison") -> str:
    head = f"{first.title}\n→ {second.title}\n\n"
    if not found.changes:
        head += "nothing changed\n\n"
    else:
        lines = [(one.place, _cut(one.old), _cut(one.new), ", ".join(one.stages) or "–") for one in found.changes]
        head += f"{columns([('what changed', 'before', 'now', 'decides weights of'), *lines])}\n"
    lines = [("stage", "its weights", "trains", "because of"), *((
        one.stage, one.status + _equality(one), ", ".join(one.trained), _listed(one.because)) for one in found.stages)]
    return f"{head}{columns(lines)}\n{_advice(first, second, found)}"


def _advice(first: "Side", second: "Side", found: "Comparison") -> str:
    verdicts = {one.stage: one for one in found.stages}
    if found.cheapest is None:
        return "No stage has to be trained again.\n"
    cheapest = verdicts[found.cheapest]
    text = f"Cheapest to run again: {cheapest.stage}{_cost(cheapest)}.\n"
    if others := [name for name in found.to_train if name != cheapest.stage]:
        text += f"Also to train: {', '.join(others)}.\n"
    if found.suspect:
        text += f"Suspect, as they start from weights that are replaced: {', '.join(found.suspect)}.\n"
    beside = [one.stage for one in found.stages if one.unreached and one.status == "valid"]
    if beside:
        text += f"Valid, as no row reaches what changed: {', '.join(beside)}.\n"
    again = [name for name in verdicts if name in beside or verdicts[name].status == "invalid"]
    if first.folder and again and second.folder is None:
        flags = " ".join(f"--retrain {name}" for name in again)
        text += f"In that run: omnikit train {second.title} run={first.folder} {flags}\n"
    return text


def _cost(one: "StageVerdict") -> str:
    facts = [*([f"{one.steps} steps"] if one.steps else []), *([f"{one.seconds:.0f} s"] if one.seconds else [])]
    return f" ({', '.join(facts)})" if facts else ""


def _equality(one: "StageVerdict") -> str:
    return {True: ", equal in both", False: ", not equal", None: ""}[one.equal_weights]


def _listed(reasons: tuple[str, ...]) -> str:
    more = f", and {len(reasons) - SHOWN} more" if len(reasons) > SHOWN else ""
    return ", ".join(reasons[:SHOWN]) + more


def _cut(value: object) -> str:
    text = "null" if value is None else str(value).replace("\n", "\\n")
    return text if len(text) <= WIDTH else f"{text[:WIDTH - 1]}…"
