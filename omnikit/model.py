"""OmniModel: the parts of a plan, wired. Encoders → projectors → splice → backbone → heads → losses.

Uses no file, no optimizer and no decoding loop.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from omnikit.contracts.optional import head_module_options
from omnikit.contracts.types import Batch, Features, Targets
from omnikit.errors import DataError
from omnikit.part_modules import PartModules
from omnikit.taps import Taps

if TYPE_CHECKING:
    from omnikit.plan.plan import OutputBranch


class OmniModel(PartModules):
    """A plan's modules and the losses of its output branches; see PartModules for its arguments."""

    def losses(self, batch: Batch, wanted: Collection[str], given: Mapping[str, Features] | None = None) -> dict[str, Tensor]:
        """Give each wanted output branch's loss, scalar float32; a branch that the batch has no target for is absent.

        Args:
            given: what was computed before, by point, see Taps.

        Raises:
            DataError: a row's target cannot be reached, or a branch gives another number of features than its contract states.
        """
        return self.tapped_losses(Taps(self, batch, given), wanted)

    def tapped_losses(self, taps: Taps, wanted: Collection[str]) -> dict[str, Tensor]:
        """Give what `losses` gives for the batch of `taps`."""
        found, batch = {}, taps.batch
        for name in wanted:
            if name in batch.targets:
                try:
                    found[name] = self._loss(self.plan.outputs[name], taps, batch.targets[name])
                except DataError as error:
                    raise DataError(f"Branch {name}: {error} The batch holds rows {', '.join(batch.ids)}.") from error
        return found

    def _loss(self, output: OutputBranch, taps: Taps, targets: Targets) -> Tensor:
        """Give a head's loss; one that takes hidden states in place of the logits it taps gets these, and makes them itself."""
        of_hidden = head_module_options(self.head(output.name)).loss_of_hidden
        if output.per_token and of_hidden:
            return of_hidden(taps.states(output), targets, partial(self._logits, output), output.source.dim)
        return self.head(output.name).loss(taps.features(output), targets, *taps.context(output))

    def _logits(self, output: OutputBranch, states: Tensor) -> Tensor:
        return self.head_input(output, states, torch.empty(0)).data
