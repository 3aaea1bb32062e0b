"""`omnikit train RECIPE [overrides] [--jobs N] [-m] [--submit FILE] [--optuna FILE] [--cfg job]`: train what is not done."""

import sys
from argparse import Namespace
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from omnikit.commands.arguments import Parser
from omnikit.errors import RunError
from omnikit.plan.plan import make
from omnikit.plan.weights import require_weights
from omnikit.recipe.compose import run_jobs
from omnikit.recipe.recipe import Recipe
from omnikit.training.launch import check_one_machine, launch, numbers_of_process

if TYPE_CHECKING:
    from omnikit.training.sweeps.sweep import JobResult

EXAMPLE = "example: omnikit train llama_omni/tiny audio/encoder=mel_cnn stages.speak.optim.lr=1e-4"


def run(argv: list[str]) -> int:
    """Train a recipe; Hydra's own flags (-m for sweeps, --cfg job to print the configuration) go to Hydra."""
    parser = Parser("omnikit train", description=__doc__, epilog=EXAMPLE)
    parser.add_argument("recipe", help="a name such as llama_omni/tiny, a YAML file, or a run's folder to resume"
                        " with its recipe there")
    parser.add_argument("overrides", nargs="*", default=[],
                        help="slash picks a component, dot sets a field, + adds a branch or dataset")
    parser.add_argument("-m", "--multirun", action="store_true", help="sweep: one run for each combination of a=1,2 b=3,4;"
                        " hydra/launcher=joblib runs them side by side")
    parser.add_argument("--optuna", type=Path, metavar="FILE", help="search: Optuna chooses the overrides of each job by a YAML"
                        " with metric, space and trials")
    parser.add_argument("--submit", type=Path, metavar="FILE", help="run on a cluster: a YAML with submitit's parameters, for"
                        " example timeout_min and slurm_partition")
    parser.add_argument("--cfg", choices=("job", "hydra", "all"), help="print the composed configuration and train nothing")
    parser.add_argument("--retrain", action="append", default=[], metavar="STAGE",
                        help="train a finished stage again, and those that start from it where it changes; may be repeated;"
                        " all: each stage; the old weights stay until the new ones are complete")
    parser.add_argument("--restart", action="store_true",
                        help="begin unfinished stages from scratch, instead of resuming from their newest checkpoint")
    parser.add_argument("--wait", action="store_true", help="wait while another process trains in the run's folder")
    parser.add_argument("--jobs", type=int, default=1, metavar="N", help="train up to N stages side by side where they do not"
                        " start from each other's weights, each on a device of its own where there are GPUs")
    arguments = parser.parse_intermixed_args(argv)
    if arguments.cfg and (arguments.multirun or arguments.optuna or arguments.submit):
        parser.error("--cfg prints one configuration, but -m, --optuna and --submit train; leave one of them out")
    if arguments.multirun or arguments.optuna or arguments.submit:
        return _sweep(arguments)
    flags = ["--cfg", arguments.cfg] if arguments.cfg else []
    job = partial(_train, retrain=arguments.retrain, restart=arguments.restart, wait=arguments.wait, jobs=arguments.jobs)
    run_jobs(arguments.recipe, [*flags, *arguments.overrides], job)
    return 0


def _sweep(arguments: Namespace) -> int:
    """Run several jobs, or one on a cluster; print a table, and name each that failed."""
    from omnikit.recipe.sweep import launcher, points, swept
    from omnikit.training.sweeps.launchers import choose, serial
    from omnikit.training.sweeps.search import SearchJobs, read_search
    from omnikit.training.sweeps.sweep import RESULTS, TrainOptions, prepare, sweep_folder

    recipe = arguments.recipe
    settings, overrides = launcher(recipe, arguments.overrides)
    launch, folder = choose(settings, arguments.submit), sweep_folder(recipe)
    options = TrainOptions(tuple(arguments.retrain), arguments.restart, arguments.wait, arguments.jobs)
    logs = None if launch is serial else folder
    if arguments.optuna:
        search = SearchJobs(recipe, overrides, read_search(arguments.optuna), options, logs)
        code = _report(search.run(launch), folder / RESULTS)
        if best := search.best():
            sys.stdout.write(f"Best: {search.search.metric} {best[0]:.4g} with {' '.join(best[1])}\n")
        return code
    found = points(recipe, overrides) if arguments.multirun else [overrides]
    return _report(launch(prepare(recipe, found, swept(overrides), options, logs)), folder / RESULTS)


def _report(results: Iterator["JobResult"], path: Path) -> int:
    """Print what became of the jobs; 2 where one failed."""
    from omnikit.commands.report import sweep_table
    from omnikit.training.sweeps.sweep import failures, write_results

    found = list(results)
    if not found:
        return 0
    write_results(path, found)
    sys.stdout.write(f"\n{sweep_table(found)}\nThe results are in {path}.\n")
    sys.stdout.flush()
    sys.stderr.write("".join(f"omnikit: {sentence}\n" for failure in failures(found) for sentence in failure.splitlines()))
    return 2 if failures(found) else 0


def _train(recipe: Recipe, config_yaml: str, retrain: list[str], restart: bool, wait: bool, jobs: int) -> None:
    plan = make(recipe)  # before torch: an error is reported at once
    require_weights(plan)
    processes = max((stage.stage.trainer.processes for stage in plan.stages.values()), default=1)
    if processes > 1 and numbers_of_process() is None:
        flags = [*(f"--retrain={name}" for name in retrain), *(["--restart"] if restart else []), *(["--wait"] if wait else [])]
        check_one_machine(plan)
        if jobs != 1:
            raise RunError(f"jobs is {jobs}, but a stage is trained by {processes} processes; leave out --jobs.")
        if code := launch([*sys.argv[1:], *flags], processes):
            raise SystemExit(code)
        return

    from omnikit.commands.report import stage_table
    from omnikit.training.stage import train

    folder, results = train(plan, config_yaml, retrain=retrain, restart=restart, wait=wait, jobs=jobs)
    sys.stdout.write(f"\n{stage_table(results)}\nThe run is {folder}.\n")
