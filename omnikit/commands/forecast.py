"""`omnikit forecast RECIPE [overrides]`: the memory of each stage before any weight exists, and what makes it fit a card."""

import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping

from omnikit.commands.arguments import Parser
from omnikit.errors import RunError
from omnikit.plan.forecast import Forecast, Setting, forecast
from omnikit.plan.forecast_changes import fitting
from omnikit.plan.forecast_table import fits_text, forecast_table, measured_line, notes, parse_memory, record
from omnikit.plan.plan import make
from omnikit.recipe.compose import compose


def run(argv: list[str]) -> int:
    """Forecast a recipe's stages, or measure three steps of each."""
    parser = Parser("omnikit forecast", description=__doc__)
    parser.add_argument("recipe", help="a name such as llama_omni/full, or a YAML file")
    parser.add_argument("overrides", nargs="*", default=[], help="as for train: stages.understand.trainer.batch_size=4")
    parser.add_argument("--memory", help="of a card: 80GiB, 24GB; lists which stages fit it and what makes the others fit")
    parser.add_argument("--devices", type=int, default=1, help="that share weights, gradients and moments as FSDP does")
    parser.add_argument("--text-tokens", type=int, help="of a row, where its dataset does not state them")
    parser.add_argument("--json", action="store_true", help="bytes of each stage as JSON")
    parser.add_argument("--measure", action="store_true", help="train three steps of each stage and compare (needs torch)")
    arguments = parser.parse_intermixed_args(argv)
    memory = parse_memory(arguments.memory) if arguments.memory else None
    if arguments.memory and memory is None:
        parser.error(f"--memory is {arguments.memory!r}, but must be a size such as 80GiB or 24GB")
    if arguments.devices < 1 or (arguments.text_tokens is not None and arguments.text_tokens < 1):
        parser.error("--devices and --text-tokens must be at least 1")
    plan, setting = make(compose(arguments.recipe, arguments.overrides)), Setting(arguments.devices, arguments.text_tokens)
    found = forecast(plan, setting)
    fits = fitting(plan, memory, setting) if memory else {}
    if arguments.json:
        sys.stdout.write(f"{json.dumps(record(found, fits), indent=1)}\n")
    else:
        place = "each device" if setting.devices > 1 else "one device"
        sys.stdout.write(f"{arguments.recipe}: memory of each stage in GiB, on {place}\n\n{forecast_table(found)}\n"
                         f"{notes(plan, found, setting)}")
        sys.stdout.write(f"\n{fits_text(fits, memory, setting.devices)}" if memory else "")
    if arguments.measure:
        _measure(arguments.recipe, arguments.overrides, found)
    return 0


def _measure(recipe: str, overrides: list[str], found: Mapping[str, Forecast]) -> None:
    """Run each stage in a process of its own, one after another, and print what it took beside the forecast."""
    from omnikit.training.measure import dry_overrides  # needs torch

    cut = [*overrides, *dry_overrides(make(compose(recipe, overrides)))]
    sys.stdout.write("\nMeasured, three steps of each stage:\n")
    with tempfile.TemporaryDirectory() as folder:
        for stage, one in found.items():
            command = [sys.executable, "-c", "from omnikit.training.measure import main; main()", recipe, stage, folder, *cut]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode:
                reason = (done.stderr.strip().splitlines() or ["no message"])[-1]
                raise RunError(f"Stage {stage} could not be measured: {reason}")
            sys.stdout.write(measured_line(one, json.loads(done.stdout.splitlines()[-1])))
            sys.stdout.flush()
