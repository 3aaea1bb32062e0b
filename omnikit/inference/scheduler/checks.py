"""What a model must be for its answers to run in an engine."""

from __future__ import annotations

from omnikit.errors import PlanError
from omnikit.inference.session import Session


def check_engine(session: Session) -> None:
    """Refuse a model without a backbone, and one whose backbone reads the codes of its own speech; raises PlanError."""
    session.check_answers()
    if fed := next((name for name, output in session.plan.outputs.items() if output.feeds), None):
        raise PlanError(f"{session.plan.recipe.name} has branch {fed}, whose codes the backbone reads step by step; such"
                        " answers cannot run beside one another here: ask with omnikit answer or Session.answer, or choose"
                        f" another head, such as {fed}/head=parallel_codes.")
