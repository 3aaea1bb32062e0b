"""The engine for any backbone: its rows are stepped one after another."""

from __future__ import annotations

from omnikit.inference.scheduler.checks import check_engine
from omnikit.inference.scheduler.scheduler import EngineLimits, Scheduler
from omnikit.inference.scheduler.separate_rows import SeparateRow, SeparateRows
from omnikit.inference.session import Session


class SingleEngine(Scheduler[SeparateRow]):
    """Any number of answers, each with a state of its own that the backbone's `step` moves on.

    Raises:
        PlanError: as check_engine.
    """

    def __init__(self, session: Session, limits: EngineLimits | None = None) -> None:
        check_engine(session)
        super().__init__(session, SeparateRows(session.model.language_model()), limits)
