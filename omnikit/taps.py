"""Taps: what one batch gives at each place that a head can tap. Encoders → projectors → splice → backbone.

Uses no file, no optimizer and no decoding loop. What a loss does not need is not computed, and what nothing trainable
stands before keeps no graph: frozen parameters require no gradient, so autograd records nothing until the first trained part.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor

from omnikit import splice
from omnikit.contracts import protocols as roles
from omnikit.contracts.layout import InputLayout
from omnikit.contracts.optional import backbone_options, head_options
from omnikit.contracts.types import Batch, Features
from omnikit.part_modules import PartModules

if TYPE_CHECKING:
    from omnikit.contracts.specs import FeatureSpec
    from omnikit.plan.plan import OutputBranch

BACK = {"predicts": 1, "reads": 0}  # positions from a supervised token to the state that a head takes for it


class Taps:
    """What one batch gives at each place a head can tap: computed when first asked for, and once.

    Args:
        given: point (see omnikit.plan.cache_points) → its features, which are not computed then.
    """

    def __init__(self, model: PartModules, batch: Batch, given: Mapping[str, Features] | None = None) -> None:
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
        if output.feeds:
            return self._stream_states(output)
        if self.batch.target_positions is not None and output.per_token:
            return Features(self._token_states(output.trained_on)[None], self.batch.answer_lengths.sum()[None])
        return self.point(f"backbone.{output.trained_on}")

    def _stream_states(self, output: OutputBranch) -> Features:
        """Give the states [C, S, D] of each step of an answer's codes, from the one that predicts its first token on."""
        count = output.steps(self.batch.targets[output.name].ids.shape[1])
        steps = torch.arange(count, device=self.batch.answers.device)
        positions = (self.batch.answers[:, :1] - 1 + steps).clamp(max=self.hidden.shape[1] - 1)  # beyond a row's steps: any
        return Features(splice.at(self.hidden, positions, None), torch.full_like(self.batch.lengths, count))

    def _fed(self, vectors: Tensor) -> Tensor:
        """Add the codes of each step to the backbone's input [B, L, D] behind it."""
        for output in self.model.plan.outputs.values():
            if output.feeds and output.name in self.batch.targets:
                added = self.model.feeding_head(output.name).inputs(self.batch.targets[output.name])  # [B, S, D]
                steps = torch.arange(added.shape[1], device=vectors.device)
                positions = (self.batch.answers[:, :1] + steps).clamp(max=vectors.shape[1] - 1)  # beyond a row's end 0 is added
                rows = torch.arange(len(vectors), device=vectors.device)[:, None].expand_as(positions)
                vectors = vectors.index_put((rows, positions), added.to(vectors.dtype), accumulate=True)
        return vectors

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
        beside: dict[str, Any] = {"instructions": self.batch.instructions[branch]} if wired.instruction_tokenizer else {}
        beside |= {"media": self.batch.media[branch]} if wired.joins_media else {}
        features = self.model.projector(branch)(*sources, **beside)
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
        return self._fed(vectors)

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
        """Give the number of projected features of each of a branch's signals, or of its media, by contract."""
        wired, sizes = self.model.plan.inputs[branch], self.batch.sizes.get(branch, [])
        if not wired.joins_media:
            return list(map(wired.length, sizes))
        ranges = self.batch.signal_ranges(branch) if sizes else []
        return [wired.medium_length(medium, sizes[signals.start]) for medium, signals in
                zip(self.batch.media[branch], ranges, strict=bool(sizes))]

    def _check(self, part: str, features: Features, spec: FeatureSpec, lengths: list[int]) -> None:
        if not lengths:  # a batch made by hand promises nothing
            return
        branch, _, slot = part.partition(".")
        of = self.batch.rows[branch] if slot == "encoder" else self.batch.projected_rows(branch)
        rows = [self.batch.ids[row] for row in of]
        splice.check_features(features, splice.ExpectedFeatures(self.model.plan.described(part), spec, lengths, rows),
                       read_lengths=self.model.length_checks.due(part, features.data.device))
