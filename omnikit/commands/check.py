"""`omnikit check RECIPE [overrides]`: compose, wire, print; with --deep also read the data and run one dummy batch."""

import sys

from omnikit.commands import table
from omnikit.commands.arguments import Parser
from omnikit.plan.plan import make
from omnikit.recipe.compose import compose


def run(argv: list[str]) -> int:
    """Check a recipe with what `train` would be given; every mismatch is reported at once."""
    parser = Parser("omnikit check", description=__doc__)
    parser.add_argument("recipe", help="a name such as llama_omni/tiny, or a YAML file")
    parser.add_argument("overrides", nargs="*", default=[], help="as for train: audio/encoder=mel_cnn seed=1")
    parser.add_argument("--deep", action="store_true", help="read every row of the data and run one dummy batch (needs torch)")
    arguments = parser.parse_intermixed_args(argv)
    plan = make(compose(arguments.recipe, arguments.overrides))
    sys.stdout.write(f"{arguments.recipe}\n\n{table.wiring(plan)}\n{table.stages(plan)}\n")
    if arguments.deep:
        from omnikit.commands.dry_run import look  # needs torch

        sys.stdout.write(look(plan) + "\n")
    parts, stages = len(plan.parts()), len(plan.stages)
    sys.stdout.write(f"{arguments.recipe} fits together: {parts} parts, {stages} stage{'s' if stages != 1 else ''}.\n")
    return 0
