"""`omnikit train RECIPE [overrides] [-m] [--cfg job]`: train every stage that is not done yet; print the table of stages."""

import sys
from functools import partial

from omnikit.commands.arguments import Parser
from omnikit.plan.plan import make
from omnikit.plan.weights import require_weights
from omnikit.recipe.compose import run_jobs
from omnikit.recipe.recipe import Recipe

EXAMPLE = "example: omnikit train llama_omni/tiny audio/encoder=mel_cnn stages.speak.optim.lr=1e-4"


def run(argv: list[str]) -> int:
    """Train a recipe; Hydra's own flags (-m for sweeps, --cfg job to print the configuration) go to Hydra."""
    parser = Parser("omnikit train", description=__doc__, epilog=EXAMPLE)
    parser.add_argument("recipe", help="a name such as llama_omni/tiny, a YAML file, or a run's folder to resume"
                        " with its recipe there")
    parser.add_argument("overrides", nargs="*", default=[],
                        help="slash picks a component, dot sets a field, + adds a branch or dataset")
    parser.add_argument("-m", "--multirun", action="store_true", help="sweep: one run for each combination of a=1,2 b=3,4")
    parser.add_argument("--cfg", choices=("job", "hydra", "all"), help="print the composed configuration and train nothing")
    parser.add_argument("--retrain", action="append", default=[], metavar="STAGE",
                        help="train a finished stage again, and those that start from it where it changes; may be repeated;"
                        " all: each stage; the old weights stay until the new ones are complete")
    parser.add_argument("--restart", action="store_true",
                        help="begin unfinished stages from scratch, instead of resuming from their newest checkpoint")
    parser.add_argument("--wait", action="store_true", help="wait while another process trains in the run's folder")
    arguments = parser.parse_intermixed_args(argv)
    flags = ["--multirun"] if arguments.multirun else []
    flags += ["--cfg", arguments.cfg] if arguments.cfg else []
    job = partial(_train, retrain=arguments.retrain, restart=arguments.restart, wait=arguments.wait)
    run_jobs(arguments.recipe, [*flags, *arguments.overrides], job)
    return 0


def _train(recipe: Recipe, config_yaml: str, retrain: list[str], restart: bool, wait: bool) -> None:
    plan = make(recipe)  # before torch: an error is reported at once
    require_weights(plan)

    from omnikit.commands.report import stage_table
    from omnikit.training.stage import train

    folder, results = train(plan, config_yaml, retrain=retrain, restart=restart, wait=wait)
    sys.stdout.write(f"\n{stage_table(results)}\nThe run is {folder}.\n")
