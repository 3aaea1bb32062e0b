"""A dataset made by a builder, which may open trained runs: what `omnikit data build` does."""

from collections.abc import Mapping
from pathlib import Path

from omnikit import registry
from omnikit.contracts.builders import BuilderConfig
from omnikit.contracts.types import BuildReport
from omnikit.errors import ConfigError
from omnikit.inference.builder_runs import BuilderRuns
from omnikit.recipe import presets
from omnikit.recipe.schema import MISSING_VALUE, construct, defaults


def build_dataset(builder: str, options: Mapping[str, object], out: str | Path | None) -> BuildReport:
    """Make a dataset in the folder `out`; the same call goes on where it was stopped.

    Args:
        builder: its name; `omnikit show builder/NAME` lists its options.
        options: key → value.

    Raises:
        ConfigError: there is no such builder, or an option is missing, unknown or wrong; all of them at once.
        OmnikitError: the source cannot be read or the folder not written.
    """
    if builder not in presets.names("builder"):
        raise ConfigError(presets.unknown_name("builder", builder, presets.names("builder")))
    errors: list[str] = []
    cls = registry.component("builder", builder)
    missing = [key for key, value in {**defaults(cls), **options}.items() if value == MISSING_VALUE]
    errors += [f"{builder} lacks {key}=VALUE; omnikit show builder/{builder} describes it." for key in missing]
    config: BuilderConfig | None = None if missing else construct(cls, options, builder, errors)
    if not isinstance(out, str | Path) or not str(out):
        errors.append(f"{builder} lacks out=FOLDER, where the dataset goes.")
    if errors or config is None or out is None:
        raise ConfigError(*errors)
    return config.build().make(Path(out).expanduser(), BuilderRuns())
