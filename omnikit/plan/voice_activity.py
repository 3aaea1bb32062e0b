"""The voice activity detection of a recipe: the one that `live.vad` names, else silero where it is installed, else energy."""

from __future__ import annotations

from omnikit import registry
from omnikit.contracts.configs import VADConfig
from omnikit.errors import OmnikitError, PlanError
from omnikit.recipe.live import Live
from omnikit.recipe.schema import construct

PREFERRED = ("silero", "energy")


def find_vad(live: Live) -> VADConfig:
    """Give the configuration of the detection; raises PlanError where it cannot be made."""
    errors: list[str] = []
    found = _named(live, errors)
    if errors or found is None:
        raise PlanError(*errors)
    return found


def check_vad(live: Live, errors: list[str]) -> None:
    """Append what is wrong with a detection that is named; one that is not needs none to be installed."""
    if live.vad is not None:
        _named(live, errors)


def _named(live: Live, errors: list[str]) -> VADConfig | None:
    installed = registry.components("vad")
    use = (live.vad or {}).get("use", next((name for name in PREFERRED if name in installed), PREFERRED[-1]))
    fields = {key: value for key, value in (live.vad or {}).items() if key != "use"}
    try:
        made: VADConfig | None = construct(registry.component("vad", str(use)), fields, "live.vad", errors)
    except OmnikitError as error:
        errors.append(f"live.vad: {error}")
        return None
    return made
