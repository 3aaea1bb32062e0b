"""OmniModel: the parts of a plan, wired. Encoders → projectors → splice → backbone → heads.

Uses no file, no optimizer and no decoding loop. What a loss does not need is not computed, and what nothing trainable
stands before keeps no graph: frozen parameters require no gradient, so autograd records nothing until the first trained part.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from functools import cached_property, partial
from typing import TYPE_CHECKING, Literal, cast

import torch
from torch import Tensor, nn

from omnikit import splice
from omnikit.contracts import protocols as roles
from omnikit.contracts.layout import InputLayout
from omnikit.contracts.optional import backbone_options, head_module_options, head_options, without_weight_files
from omnikit.contracts.types import Batch, Features, Targets
from omnikit.errors import DataError
from omnikit.ops.empty import empty_weights
from omnikit.parts import build_from_settings, build_part, build_table, rest_in_eval, seeded

if TYPE_CHECKING:
    from omnikit.contracts.specs import FeatureSpec
    from omnikit.plan.plan import OutputBranch, Plan

BACK = {"predicts": 1, "reads": 0}  # positions from a supervised token to the state that a head takes for it


class OmniModel(nn.Module):
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

    def train(self, mode: bool = True) -> OmniModel:
        """Set the mode of every part but the frozen ones, which stay in eval mode."""
        super().train(mode)
        for path in self.frozen:
            self.get_submodule(path).eval()
        for path in self.pieces if mode else ():
            rest_in_eval(self.get_submodule(path))
        return self

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


class Taps:
    """What one batch gives at each place a head can tap: computed when first asked for, and once.

    Args:
        given: point (see omnikit.plan.cache_points) → its features, which are not computed then.
    """

    def __init__(self, model: OmniModel, batch: Batch, given: Mapping[str, Features] | None = None) -> None:
        self.model = model
        self.batch = batch
        self._points = dict(given or {})

    def point(self, name: str) -> Features:
        """Give the features of a point: of each signal, [B', T, D], or the states of each conversation, [C, U, D]."""
        if name not in self._points:
            branch, _, slot = name.partition(".")
            if branch != "backbone":
                self._points[name] = self._encode(branch) if slot == "encoder" else self._project(branch)
            elif slot.startswith("last."):
                self._points[name] = self._last_states(slot.removeprefix("last."))
            else:
                positions = (self.batch.answers - BACK[slot]).clamp(min=0)
                self._points[name] = Features(splice.at(self.hidden, positions, self.batch.conversation_rows),
                                              self.batch.answer_lengths)
        return self._points[name]

    def features(self, output: OutputBranch) -> Features:
        """Give what an output branch's head trains on: [C, U, D] at the answers, or the features of an input branch.

        Of a packed batch, logits for a loss by token are [1, S, V], all its answers in a row: none is computed for padding.
        """
        tap = output.head.tap
        if output.head.target == "state":
            last = self.point(f"backbone.last.{output.state_input}")
            return self.model.head_input(output, last.data, last.lengths)
        if tap == "embedding":
            texts = self.batch.texts[output.name]
            return self.model.for_head(output.name, Features(self.model.language_model().embed(texts.ids), texts.lengths))
        if tap in ("hidden", "logits"):
            found = self.states(output)
            return self.model.head_input(output, found.data, found.lengths)
        return self.model.for_head(output.name, self.point(tap))

    def states(self, output: OutputBranch) -> Features:
        """Give the backbone's output at the answers [C, U, D]; of a packed batch, for a loss by token, [1, S, D]."""
        if self.batch.target_positions is not None and output.per_token:
            return Features(self._token_states(output.trained_on)[None], self.batch.answer_lengths.sum()[None])
        return self.point(f"backbone.{output.trained_on}")

    def context(self, output: OutputBranch) -> list[Features]:
        """Give the states at the answers [C, U, D] for a head that also takes them; else nothing."""
        if head_options(output.head).context is None:
            return []
        return [self.model.for_head(output.name, self.point(f"backbone.{output.trained_on}"))]

    def _token_states(self, alignment: str) -> Tensor:
        """Give the states [S, D] of all supervised tokens of a packed batch."""
        assert self.batch.target_positions is not None, "a packed batch has them"
        if f"backbone.{alignment}" in self._points:
            states = self.point(f"backbone.{alignment}")
            return states.data[torch.arange(states.data.shape[1], device=states.lengths.device) < states.lengths[:, None]]
        return self.hidden.flatten(0, 1)[self.batch.target_positions - BACK[alignment]]

    def _last_states(self, branch: str) -> Features:
        """Give the backbone's output at the last position of each signal of an input branch, [B', 1, D]."""
        positions = self.batch.slots[branch]
        last = (torch.tensor(self.batch.counts[branch]).cumsum(0) - 1).to(positions.device, non_blocking=True)
        return Features(self.hidden.flatten(0, 1)[positions[last]][:, None], torch.ones_like(last))

    def _encode(self, branch: str) -> Features:
        """Give the encoder's features [B', T, D] of one input branch."""
        signal = splice.normalised(self.batch.signals[branch], self.model.plan.inputs[branch].image_spec)
        features = self.model.encoder(branch)(signal)
        wired = self.model.plan.inputs[branch]
        self._check(f"{branch}.encoder", features, wired.encoded,
                    list(map(wired.encoder.length, self.batch.sizes.get(branch, ()))))
        return features

    def _project(self, branch: str) -> Features:
        """Give the projector's features [B', T, D] of one input branch."""
        wired, module = self.model.plan.inputs[branch], self.model.get_submodule(f"{branch}.projector")
        sources = [splice.as_dtype_of(module, self.point(f"{each.name}.encoder")) for each in (wired, *wired.sources)]
        text = {"instructions": self.batch.instructions[branch]} if wired.instruction_tokenizer else {}
        features = self.model.projector(branch)(*sources, **text)
        assert wired.projected, "a branch with a projector has its spec"
        self._check(f"{branch}.projector", features, wired.projected, self._lengths(branch))
        return features

    @cached_property
    def inputs(self) -> Tensor:
        """The backbone's input [B, L, D]: token embeddings, with projected vectors at their slots."""
        vectors = self.model.language_model().embed(self.batch.tokens)
        plan = self.model.plan
        assert plan.backbone, "a batch with tokens has a backbone"
        splice.check_dim(plan.described("backbone"), "embeddings", vectors, plan.backbone.dim)
        for branch, slots in self.batch.slots.items():
            features, counts = self.point(f"{branch}.projector"), self.batch.counts[branch]
            spec = plan.inputs[branch].image_spec
            pools = spec.pooled[1:] if spec and spec.pooled else ()
            assert all(count == length or (count in pools and count < length) for count, length in zip(
                counts, self._lengths(branch) or counts, strict=True)), "a collator keeps a position for each projected vector"
            vectors = splice.spliced(vectors, slots, features.data, counts, pools)
        return vectors

    @cached_property
    def layout(self) -> InputLayout | None:
        """What the backbone's input positions hold; None where it does not take that."""
        plan = self.model.plan
        if plan.backbone is None or not backbone_options(plan.backbone).takes_layout:
            return None
        attended = [name for name, branch in plan.inputs.items() if branch.is_attended and name in self.batch.signals]
        return splice.input_layout(self.batch, {name: splice.Attended(self.point(f"{name}.projector"), self._lengths(name))
                                                for name in attended})

    @cached_property
    def hidden(self) -> Tensor:
        """The backbone's output [B, L, D]."""
        positions = torch.arange(self.batch.tokens.shape[1], device=self.batch.lengths.device)
        mask = positions < self.batch.lengths[:, None]
        documents = () if self.batch.documents is None else (self.batch.documents,)
        if self.layout is not None:
            return cast(roles.LayoutBackbone, self.model.language_model())(self.inputs, mask, *documents, layout=self.layout)
        return self.model.language_model()(self.inputs, mask, *documents)

    def _lengths(self, branch: str) -> list[int]:
        """Give the number of projected features of each of a branch's signals, by contract."""
        return list(map(self.model.plan.inputs[branch].length, self.batch.sizes.get(branch, ())))

    def _check(self, part: str, features: Features, spec: FeatureSpec, lengths: list[int]) -> None:
        if not lengths:  # a batch made by hand promises nothing
            return
        rows = [self.batch.ids[row] for row in self.batch.rows[part.partition(".")[0]]]
        splice.check_features(features, splice.ExpectedFeatures(self.model.plan.described(part), spec, lengths, rows),
                       read_lengths=self.model.length_checks.due(part, features.data.device))
