"""The section `validate` of a stage: held-out rows that its losses are measured on while it is trained."""

from dataclasses import dataclass, field

TOTAL = "total"
METRICS = ("accuracy",)


@dataclass
class EarlyStop:
    """When a stage ends before its steps are over.

    Args:
        patience: validations in a row without a lower loss; None: it does not end before.
        min_delta: by how much it must be lower.
    """

    patience: int | None = None
    min_delta: float = 0.0


@dataclass
class Validate:
    """Held-out rows, and what is done with what a stage reaches on them; without data there is no validation.

    Args:
        data: weight of each dataset in the mean; 0 leaves it out.
        every: steps between two validations; there is one at the end, too.
        rows: of each dataset, the first so many; None takes all.
        metrics: beside the losses, accuracy: the fraction of target tokens that have the highest logit.
        early_stop: ends the stage when the loss falls no more.
        keep_best: the stage gives the weights with the lowest loss of this branch, or the lowest total; None: the last ones.
    """

    data: dict[str, float] = field(default_factory=dict)
    every: int = 500
    rows: int | None = None
    metrics: tuple[str, ...] = ()
    early_stop: EarlyStop = field(default_factory=EarlyStop)
    keep_best: str | None = None

    @property
    def datasets(self) -> tuple[str, ...]:
        """The datasets that are read."""
        return tuple(name for name, weight in self.data.items() if weight)

    @property
    def decides(self) -> bool:
        """Whether it changes the weights that the stage gives."""
        return bool(self.datasets) and (self.early_stop.patience is not None or self.keep_best is not None)

    @property
    def monitored(self) -> str:
        """The loss that is compared."""
        return self.keep_best or TOTAL
