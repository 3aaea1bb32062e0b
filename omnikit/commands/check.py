"""`omnikit check RECIPE [overrides]`: compose, wire, print; with --deep also read the data and run one dummy batch."""

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from omnikit.commands.arguments import Parser
from omnikit.errors import ConfigError
from omnikit.plan.devices import card_memory, check_local_devices
from omnikit.plan.forecast import forecast
from omnikit.plan.forecast_table import verdict
from omnikit.plan.missing import missing
from omnikit.plan.plan import Plan, make
from omnikit.plan.tables import stages_table, wiring_table
from omnikit.plan.weights import advice_on_weights, require_weights
from omnikit.recipe.compose import compose
from omnikit.text_table import columns

DONE = "done"  # of omnikit.store.runs

if TYPE_CHECKING:
    from omnikit.training.dry_run import DryRun


def run(argv: list[str]) -> int:
    """Check a recipe with what `train` would be given; every mismatch is reported at once."""
    parser = Parser("omnikit check", description=__doc__)
    parser.add_argument("recipe", help="a name such as llama_omni/tiny, or a YAML file")
    parser.add_argument("overrides", nargs="*", default=[], help="as for train: audio/encoder=mel_cnn seed=1")
    parser.add_argument("--deep", action="store_true", help="read every row of the data and run one dummy batch (needs torch)")
    arguments = parser.parse_intermixed_args(argv)
    plan = make(compose(arguments.recipe, arguments.overrides))
    check_local_devices(plan.stages.values())
    expected = _missing(plan, Path(arguments.recipe))
    sys.stdout.write(f"{arguments.recipe}\n\n{wiring_table(plan)}\n{stages_table(plan)}\n")
    if arguments.deep:
        require_weights(plan)

        from omnikit.training.dry_run import dry_run  # needs torch

        sys.stdout.write(f"{dry_run_table(dry_run(plan))}\n")
    sys.stdout.write(verdict(arguments.recipe, forecast(plan), card_memory()))
    parts, stages = len(plan.parts()), len(plan.stages)
    sys.stdout.write(f"{arguments.recipe} fits together: {parts} parts, {stages} stage{'s' if stages != 1 else ''}.\n")
    for advice in (*expected, advice_on_weights(plan)):
        sys.stdout.write(f"Before training: {advice}\n" if advice else "")
    return 0


def _missing(plan: Plan, run: Path) -> list[str]:
    """Refuse what the recipe names and this machine lacks; gives what lacks as a preset or a finished stage leaves it.

    Args:
        run: a run's folder, whose finished stages need nothing any more; any other recipe has none.
    """
    found = missing(plan, [name for name in plan.stages if not (run / name / DONE).is_file()])
    if wrong := [one.sentence for one in found if not one.expected]:
        raise ConfigError(*wrong)
    return [one.sentence for one in found]


def dry_run_table(found: Iterable["DryRun"]) -> str:
    """Set what was read and run of each stage in a line."""
    lines = [("stage", "rows read", "losses of one batch, untrained")]
    for one in found:
        losses = ", ".join(f"{branch} {loss:.3g}" for branch, loss in one.losses.items())
        lines.append((one.stage, ", ".join(f"{n} of {d}" for d, n in one.rows.items()), losses or f"({one.reason})"))
    return columns(lines)
