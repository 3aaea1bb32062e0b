"""PartModules: the modules of a plan under their part names, and what each of them is called for. Wires nothing.

Uses no batch and no file.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Literal, cast

from torch import Tensor, nn

from omnikit import splice
from omnikit.contracts import protocols as roles
from omnikit.contracts.optional import without_weight_files
from omnikit.contracts.streaming import FeedingHead
from omnikit.contracts.types import Features
from omnikit.ops.empty import empty_weights
from omnikit.parts import build_from_settings, build_part, build_table, rest_in_eval, seeded

if TYPE_CHECKING:
    from omnikit.plan.plan import OutputBranch, Plan


class PartModules(nn.Module):
    """Owns a plan's modules under their part names, which begin every name of its state dict: audio.encoder.…

    Each part draws its fresh weights from a seed of its own (the recipe's and its name), so that a part begins the same
    whatever other parts are there.

    Args:
        plan: the wiring.
        parts: part names to build; None for all.
        empty: part → the settings of the checkpoint that it came from, for parts that are built without weights, to be filled.
        table: builds of the backbone the embedding table alone, "fresh" or to be "loaded"; None: the whole.
    """

    def __init__(self, plan: Plan, parts: Collection[str] | None = None,
                 table: Literal["fresh", "loaded"] | None = None,
                 empty: Mapping[str, Mapping[str, object]] | None = None) -> None:
        super().__init__()
        self.plan, self.table = plan, table
        self.frozen: frozenset[str] = frozenset()  # see omnikit.training.trainable.freeze
        self.length_checks = splice.LengthChecks()
        self.pieces: frozenset[str] = frozenset()  # parts that are trained in pieces, see omnikit.training.trainable.freeze
        self.hashes: dict[str, str] = {}  # of parts as they were loaded, see omnikit.store.load
        self.merged: set[str] = set()  # parts with adapters added; their hash is that of what they are made of
        for path in plan.parts():
            if parts is None or path in parts:
                settings = (empty or {}).get(path)
                with seeded(f"{plan.recipe.seed} {path}"), empty_weights(settings is not None):
                    self._attach(path, self._part(path, settings))

    def _part(self, path: str, settings: Mapping[str, object] | None) -> nn.Module:
        config = self.plan.parts()[path]
        config = config if settings is None else without_weight_files(config)
        if self.table and path == "backbone":
            return build_table(config, self.table)
        return build_from_settings(config, settings) if settings else build_part(self.plan, path, config)

    def parts(self) -> dict[str, nn.Module]:
        """Give part name → module, in wiring order."""
        return {path: self.get_submodule(path) for path in self.plan.parts() if self._has(path)}

    def train(self, mode: bool = True) -> PartModules:
        """Set the mode of every part but the frozen ones, which stay in eval mode."""
        super().train(mode)
        for path in self.frozen:
            self.get_submodule(path).eval()
        for path in self.pieces if mode else ():
            rest_in_eval(self.get_submodule(path))
        return self

    # The casts below are the one place where a module is taken for the role that its plugin's contract promises.

    def encoder(self, branch: str) -> roles.Encoder:
        """The encoder of an input branch."""
        return cast(roles.Encoder, self.get_submodule(f"{branch}.encoder"))

    def projector(self, branch: str) -> roles.InstructedProjector:
        """The projector of an input branch, of one source or several, with text or without."""
        return cast(roles.InstructedProjector, self.get_submodule(f"{branch}.projector"))

    def language_model(self) -> roles.Backbone:
        """The backbone."""
        return cast(roles.Backbone, self.get_submodule("backbone"))

    def head(self, branch: str) -> roles.Head:
        """The head of an output branch."""
        return cast(roles.Head, self.get_submodule(f"{branch}.head"))

    def code_head(self, branch: str) -> roles.CodeHead:
        """The head of an output branch with target "codes"."""
        return cast(roles.CodeHead, self.get_submodule(f"{branch}.head"))

    def feeding_head(self, branch: str) -> FeedingHead:
        """The head of an output branch whose codes the backbone reads."""
        return cast(FeedingHead, self.get_submodule(f"{branch}.head"))

    def codec(self, branch: str) -> roles.Codec:
        """The codec of an output branch."""
        return cast(roles.Codec, self.get_submodule(f"{branch}.codec"))

    def units(self, branch: str) -> roles.Codec:
        """What makes the codes of an output branch: its `units`, else its codec."""
        return cast(roles.Codec, self.get_submodule(self.plan.outputs[branch].code_source_part or f"{branch}.codec"))

    def head_input(self, output: OutputBranch, states: Tensor, lengths: Tensor) -> Features:
        """Give backbone states [B, U, D] as an output branch's head takes them: as logits where it taps these, in its dtype."""
        data = self.language_model().logits(states) if output.head.tap == "logits" else states
        splice.check_dim(self.plan.described("backbone"), output.head.tap, data, output.source.dim)
        return self.for_head(output.name, Features(data, lengths))

    def for_head(self, branch: str, features: Features) -> Features:
        """Give features in the dtype of an output branch's head: whatever a head takes passes here."""
        return splice.as_dtype_of(self.get_submodule(f"{branch}.head"), features)

    def _has(self, path: str) -> bool:
        branch, _, slot = path.partition(".")
        return branch in self._modules and (not slot or slot in self.get_submodule(branch)._modules)

    def _attach(self, path: str, module: nn.Module) -> None:
        branch, _, slot = path.partition(".")
        if not slot:
            self.add_module(branch, module)
            return
        if branch not in self._modules:
            self.add_module(branch, nn.Module())
        self.get_submodule(branch).add_module(slot, module)
