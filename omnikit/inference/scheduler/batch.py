"""The engine for backbones whose rows come and go: one step of the backbone for all running answers."""

from __future__ import annotations

from omnikit.contracts.streaming import RowBackbone, RowHead
from omnikit.errors import PlanError
from omnikit.inference.row_numbers import RowNumber
from omnikit.inference.scheduler.joined_rows import JoinedRows
from omnikit.inference.scheduler.scheduler import EngineLimits, Scheduler
from omnikit.inference.scheduler.single import SingleEngine
from omnikit.inference.session import Session
from omnikit.inference.shared_head import SharedHead


class BatchEngine(Scheduler[RowNumber]):
    """Continuous batching: answers join and leave between steps.

    Raises:
        PlanError: the model has no backbone, or one that cannot step rows of different lengths.
    """

    def __init__(self, session: Session, limits: EngineLimits | None = None) -> None:
        session.check_answers()
        backbone = session.model.language_model()
        rows = backbone.init_rows() if isinstance(backbone, RowBackbone) else None
        if rows is None or not isinstance(backbone, RowBackbone):
            raise PlanError(f"{session.plan.recipe.name} has a backbone that cannot step answers of different lengths together,"
                            " because it has no `step_rows`; use SingleEngine.")
        super().__init__(session, JoinedRows(backbone, rows), limits, _shared_head(session))


def _shared_head(session: Session) -> SharedHead | None:
    """Give the rows of the head that speaks; None where it cannot step answers together."""
    if session.speech is None or session.speech.reads_text:
        return None
    head = session.model.code_head(session.speech.name)
    return SharedHead(head.init_rows()) if isinstance(head, RowHead) else None


def engine_for(session: Session, limits: EngineLimits | None = None) -> BatchEngine | SingleEngine:
    """Give the engine that batches where the backbone can, else the one that steps answers in turn.

    Raises:
        PlanError: the model has no backbone.
    """
    session.check_answers()
    backbone = session.model.language_model()
    batches = isinstance(backbone, RowBackbone) and backbone.init_rows() is not None
    return BatchEngine(session, limits) if batches else SingleEngine(session, limits)
