"""The engine for any backbone: its rows are stepped one after another."""

from __future__ import annotations

from omnikit.inference.scheduler.scheduler import EngineLimits, Scheduler
from omnikit.inference.scheduler.separate_rows import SeparateRow, SeparateRows
from omnikit.inference.session import Session


class SingleEngine(Scheduler[SeparateRow]):
    """Any number of answers, each with a state of its own that the backbone's `step` moves on.

    Raises:
        PlanError: the model has no backbone.
    """

    def __init__(self, session: Session, limits: EngineLimits | None = None) -> None:
        session.check_answers()
        super().__init__(session, SeparateRows(session.model.language_model()), limits)
