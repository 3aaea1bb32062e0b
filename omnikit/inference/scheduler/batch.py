"""The engine for backbones whose rows come and go: one step of the backbone for all running answers."""

from __future__ import annotations

from omnikit.contracts.optional import backbone_options
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

    Args:
        session: the model.
        limits: how much is done at the same time.
        recorded: allocates memory for `limits.rows` answers as long as the context once, and on a GPU replays the backbone's
            step as a CUDA graph.

    Raises:
        PlanError: the model has no backbone, or one that cannot step rows of different lengths.
    """

    def __init__(self, session: Session, limits: EngineLimits | None = None, *, recorded: bool = False) -> None:
        session.check_answers()
        limits, backbone = limits or EngineLimits(), session.model.language_model()
        assert session.plan.backbone, "checked above"
        fixed = (limits.rows, session.plan.backbone.context) if recorded else None
        rows = backbone.init_rows(fixed) if isinstance(backbone, RowBackbone) and _joins(session) else None
        if rows is None:
            raise PlanError(f"{session.plan.recipe.name} has a backbone that cannot step answers of different lengths together,"
                            " because it takes a layout, or its `init_rows` is missing or gives none; use SingleEngine.")
        super().__init__(session, JoinedRows(rows), limits, _shared_head(session))


def _joins(session: Session) -> bool:
    """Give whether a row needs nothing but its embeddings, so that rows may be joined."""
    return session.plan.backbone is not None and not backbone_options(session.plan.backbone).takes_layout


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
    batches = isinstance(backbone, RowBackbone) and _joins(session) and backbone.init_rows() is not None
    return BatchEngine(session, limits) if batches else SingleEngine(session, limits)
