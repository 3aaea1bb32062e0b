"""Every component, five steps: frozen, nothing moves and no gradient comes; trained, every tensor moves; so do adapters."""

from collections.abc import Callable
from fractions import Fraction
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from omnikit_basics.heads import LmHead
from torch import Tensor, nn

from omnikit import registry
from omnikit.contracts.layout import InputLayout, Memory
from omnikit.contracts.media import Medium
from omnikit.contracts.specs import CodecSpec, FeatureSpec
from omnikit.contracts.types import Features, Signal, Targets
from omnikit.errors import RunError
from omnikit.model import OmniModel
from omnikit.plan.stage_plan import StagePlan
from omnikit.plan.tuning import Lora, Tuning
from omnikit.recipe.presets import preset_fields
from omnikit.recipe.recipe import Stage
from omnikit.recipe.schema import construct
from omnikit.store.hashes import weights_hash
from omnikit.training.trainable.adapters import target_layers
from omnikit.training.trainable.freeze import Snapshot, freeze, unused
from omnikit.training.trainable.tuning import tuned

SOURCE, DIM, VOCABULARY, ROWS = FeatureSpec(32, rate=Fraction(10)), 48, 665, 3
CODEC = CodecSpec(16000, Fraction(50), 1, 100, merged=True)
BOOKS = CodecSpec(16000, Fraction(50), 2, 20)
FEATURES = Features(torch.randn(ROWS, 40, 32, generator=torch.Generator().manual_seed(0)), torch.tensor([40, 30, 20]),
                    Fraction(10))
Loss = Callable[[Any, Any], Tensor]


def to_targets(found: Tensor) -> Tensor:
    """Give a loss of features that depends on each of them otherwise."""
    targets = torch.randn(found.shape, generator=torch.Generator().manual_seed(1))
    return (found - targets).square().mean()


def audio(module: nn.Module, config: Any) -> Tensor:
    waves = torch.randn(ROWS, 32000, generator=torch.Generator().manual_seed(2))
    return to_targets(module(Signal(waves, torch.tensor([32000, 30000, 20000]))).data)


def image(module: nn.Module, config: Any) -> Tensor:
    tiles = torch.randn(ROWS, *config.input.shape, generator=torch.Generator().manual_seed(2))
    return to_targets(module(Signal(tiles, torch.ones(ROWS, dtype=torch.int64))).data)


def features(module: nn.Module, config: Any) -> Tensor:
    return to_targets(module(FEATURES).data)


def grid(module: nn.Module, config: Any) -> Tensor:
    return to_targets(module(Features(FEATURES.data[:, :36], torch.tensor([36, 16, 16]))).data)


def fused(module: nn.Module, config: Any) -> Tensor:
    return to_targets(module(FEATURES, FEATURES).data)


def joined(module: Any, config: Any) -> Tensor:
    """Two media: a video of two frames, and an image of a tile."""
    patches = Features(FEATURES.data[:, :36], torch.full((ROWS,), 36))
    return to_targets(module(patches, media=[Medium("video", ROWS - 1), Medium("image")]).data)


def attending(module: Any, config: Any) -> Tensor:
    ids = torch.randint(0, VOCABULARY, (ROWS, 50), generator=torch.Generator().manual_seed(3))
    data = torch.randn(ROWS, 4, config.dim, generator=torch.Generator().manual_seed(4))
    memory = Memory(data, torch.full((ROWS, 4), 2), torch.zeros(ROWS, 4, dtype=torch.int64))
    layout = InputLayout(torch.full((ROWS,), 9), torch.zeros(ROWS, 50, dtype=torch.bool), memory)
    hidden = module(module.embed(ids), torch.ones(ROWS, 50, dtype=torch.bool), layout=layout)
    return LmHead().loss(Features(module.logits(hidden), torch.full((ROWS,), 50)), Targets(ids, torch.full((ROWS,), 50)))


def spliced(module: Any, config: Any) -> Tensor:
    ids = torch.randint(0, VOCABULARY, (ROWS, 50), generator=torch.Generator().manual_seed(3))
    mask = torch.ones(ROWS, 50, dtype=torch.bool)
    layout = InputLayout(torch.full((ROWS,), 20), (torch.arange(50) < 6).expand(ROWS, 50))
    hidden = module(module.embed(ids), mask, layout=layout)
    return LmHead().loss(Features(module.logits(hidden), torch.full((ROWS,), 50)), Targets(ids, torch.full((ROWS,), 50)))


def prompted(module: Any, config: Any) -> Tensor:
    ids = torch.randint(0, VOCABULARY, (ROWS, 50), generator=torch.Generator().manual_seed(3))
    mask = torch.ones(ROWS, 50, dtype=torch.bool)
    hidden = module(module.embed(ids), mask, layout=InputLayout(torch.full((ROWS,), 20), ~mask))
    return LmHead().loss(Features(module.logits(hidden)[:, 19:], torch.full((ROWS,), 31)),
                         Targets(ids[:, 19:], torch.full((ROWS,), 31)))


def language(module: Any, config: Any) -> Tensor:
    ids = torch.randint(0, VOCABULARY, (ROWS, 50), generator=torch.Generator().manual_seed(3))
    hidden = module(module.embed(ids), torch.ones(ROWS, 50, dtype=torch.bool))
    return LmHead().loss(Features(module.logits(hidden), torch.full((ROWS,), 50)), Targets(ids, torch.full((ROWS,), 50)))


def targets(module: Any, config: Any) -> Tensor:
    ids = torch.randint(0, 3, (ROWS, 6), generator=torch.Generator().manual_seed(3))
    return module.loss(FEATURES, Targets(ids[:, :1] if config.target == "state" else ids, torch.tensor([6, 5, 4])))


def codes(module: Any, config: Any) -> Tensor:
    ids = torch.randint(0, CODEC.cardinality, (ROWS, 6, 1), generator=torch.Generator().manual_seed(3))
    context = [FEATURES] if getattr(config, "context", None) else []
    return module.loss(FEATURES, Targets(ids, torch.tensor([6, 5, 4])), *context)


def frames(module: Any, config: Any) -> Tensor:
    ids = torch.randint(0, BOOKS.cardinality, (ROWS, 6, BOOKS.codebooks), generator=torch.Generator().manual_seed(3))
    return module.loss(FEATURES, Targets(ids, torch.tensor([6, 5, 4])))


def fed(module: Any, config: Any) -> Tensor:
    ids = torch.randint(0, BOOKS.cardinality, (ROWS, 6, BOOKS.codebooks), generator=torch.Generator().manual_seed(3))
    targets = Targets(ids, torch.tensor([6, 5, 4]))
    return module.loss(FEATURES, targets) + to_targets(module.inputs(targets))


def vocoder(module: Any, config: Any) -> Tensor:
    ids = torch.randint(0, config.spec.cardinality, (ROWS, 12, 1), generator=torch.Generator().manual_seed(3))
    durations = module.log_durations(ids, torch.ones(ROWS, 12, dtype=torch.bool))
    return to_targets(module.generate(ids)) + to_targets(durations)


def through_codes(module: Any, config: Any) -> Tensor:
    frame = int(config.spec.sample_rate / config.spec.rate)
    made = module.reconstruct(torch.randn(ROWS, 20 * frame, generator=torch.Generator().manual_seed(4)))
    return to_targets(made.waves) + sum(made.losses.values())


COMPONENTS: dict[str, tuple[str, str, Loss, dict[str, object]]] = {
    "whisper": ("encoder", "whisper_tiny_random", audio, {"dim": 64, "layers": 2}),
    "mel_cnn": ("encoder", "mel_cnn_tiny_random", audio, {}),
    "mel_cnn relative": ("encoder", "mel_cnn_tiny_relative_random", audio, {}),
    "internvit": ("encoder", "internvit_tiny_random", image, {}),
    "openclip": ("encoder", "openclip_tiny_random", image, {}),
    "wav2vec2": ("encoder", "wav2vec2_tiny_random", audio, {}),
    "hubert": ("encoder", "hubert_tiny_random", audio, {}),
    "wavlm": ("encoder", "wavlm_tiny_random", audio, {}),
    "w2v_bert": ("encoder", "w2v_bert_tiny_random", audio, {}),
    "hf_whisper": ("encoder", "hf_whisper_tiny_random", audio, {}),
    "ast": ("encoder", "ast_tiny_random", audio, {}),
    "clip": ("encoder", "clip_tiny_random", image, {"layers": 2}),
    "siglip": ("encoder", "siglip_tiny_random", image, {"layers": 2}),
    "siglip2": ("encoder", "siglip2_tiny_random", image, {"layers": 2}),
    "dinov2": ("encoder", "dinov2_tiny_random", image, {"layers": 2}),
    "sam": ("encoder", "sam_tiny_random", image, {}),
    "hf_image_tower": ("encoder", "hf_image_tower", image, {}),
    "hf_high_res_tower": ("encoder", "hf_high_res_tower", image, {}),
    "hf_audio_tower": ("encoder", "hf_audio_tower", audio, {}),
    "linear": ("projector", "linear", features, {}),
    "mlp": ("projector", "mlp", features, {}),
    "prompt_embeddings": ("projector", "prompt_embeddings", features, {}),
    "qformer": ("projector", "qformer", features, {}),
    "stack_mlp": ("projector", "stack_mlp", features, {}),
    "strided_conv": ("projector", "strided_conv", features, {}),
    "average_pool": ("projector", "average_pool", features, {}),
    "bert_qformer": ("projector", "bert_qformer", features, {}),
    "window_qformer": ("projector", "window_qformer", fused, {}),
    "perceiver_resampler": ("projector", "perceiver_resampler", features, {}),
    "query_resampler": ("projector", "query_resampler", features, {}),
    "pixel_shuffle_mlp": ("projector", "pixel_shuffle_mlp", grid, {}),
    "anyres_mlp": ("projector", "anyres_mlp", joined, {}),
    "spatiotemporal_pool": ("projector", "spatiotemporal_pool", joined, {}),
    "video_qformer": ("projector", "video_qformer", joined, {}),
    "concat_mlp": ("projector", "concat_mlp", fused, {}),
    "concat_sequence": ("projector", "concat_sequence", fused, {}),
    "weighted_sum": ("projector", "weighted_sum", fused, {}),
    "hf_cross_attention": ("backbone", "hf_cross_attention", attending, {"cross_gate": 0.5}),
    "hf_prefix": ("backbone", "hf_prefix", prompted, {"vocabulary": VOCABULARY}),
    "hf_expert": ("backbone", "hf_expert", spliced, {}),
    "hf_encoder_decoder": ("backbone", "hf_encoder_decoder", prompted, {"vocabulary": VOCABULARY}),
    "llama": ("backbone", "llama_tiny_random", language, {}),
    "qwen2": ("backbone", "qwen2_tiny_random", language, {}),
    "mixtral": ("backbone", "mixtral_tiny_random", language, {}),
    "ctc_text": ("head", "ctc_text", targets, {}),
    "caption_words": ("head", "caption_words", targets, {}),
    "state": ("head", "state", targets, {}),
    "ctc_units": ("head", "ctc_units_tiny_random", codes, {}),
    "nar_ar": ("head", "nar_ar_tiny_random", codes, {"dim": 32, "heads": 2}),
    "nar_ar prefix": ("head", "nar_ar_tiny_random", codes, {"dim": 32, "heads": 2, "prefix": True}),
    "delayed_codes": ("head", "delayed_codes", fed, {}),
    "parallel_codes": ("head", "parallel_codes_tiny_random", frames, {"dim": 32, "heads": 2}),
    "depth_codes": ("head", "depth_codes_tiny_random", frames, {"dim": 32, "heads": 2}),
    "unit_hifigan": ("codec", "unit_hifigan_tiny_random", vocoder, {}),
    "ticodec": ("codec", "ticodec_tiny_random", through_codes, {}),
    "mimi": ("codec", "mimi_tiny_random", through_codes, {}),
    "dac": ("codec", "dac_tiny_random", through_codes, {}),
    "dac of fewer codebooks": ("codec", "dac_tiny_random", through_codes, {"use_codebooks": 2}),
}
NO_ADAPTERS = {"prompt_embeddings": "has no linear layer"} | dict.fromkeys(
    ("ticodec", "mimi", "dac", "dac of fewer codebooks"), "is trained as a whole by its objective")
NEVER_TRAINED = {"encodec": "comes with its weights", "hubert_units": "comes with its weights",
                 "mel_units": "is fitted by k-means", "prompt": "has no weights", "lm": "has no weights"}


class Alone(OmniModel):
    """A model of one part."""

    def __init__(self, module: nn.Module) -> None:
        nn.Module.__init__(self)
        self.frozen, self.pieces, self.merged, self.hashes = frozenset(), frozenset(), set(), {}
        self.plan = SimpleNamespace(recipe=SimpleNamespace(seed=0), described=lambda part: part)  # type: ignore[assignment]
        self.part = module

    def parts(self) -> dict[str, nn.Module]:
        return {"part": self.part}


def build(name: str) -> tuple[Alone, Any]:
    kind, preset, _, changes = COMPONENTS[name]
    fields = {**preset_fields(kind, preset), **changes}
    errors: list[str] = []
    config = construct(registry.component(kind, str(fields.pop("use"))), fields, kind, errors)
    assert not errors, errors
    torch.manual_seed(0)
    source = FeatureSpec(1, count=1) if name == "prompt_embeddings" else SOURCE
    if hasattr(config, "build_fused"):
        return Alone(config.build_fused([SOURCE, SOURCE], DIM)), config
    codec = BOOKS if name.endswith("_codes") else CODEC
    arguments = {"projector": (source, DIM), "head": (source, codec, VOCABULARY)}.get(kind, ())
    return Alone(config.build(*arguments)), config


def steps(model: Alone, config: Any, loss: Loss, beside: list[Tensor]) -> None:
    moving = torch.optim.Adam([*beside, *(weights for weights in model.parameters() if weights.requires_grad)], lr=1e-2)
    model.train()
    for _ in range(5):
        moving.zero_grad()
        (loss(model.part, config) + sum(one.square().sum() for one in beside)).backward()
        moving.step()


def learn(name: str, tuning: Tuning | None) -> Alone:
    """Train five steps under the proof of movement."""
    model, config = build(name)
    stage = StagePlan("learn", Stage(), ("part",), ("part",), {}, (), tuning={"part": tuning} if tuning else {})
    freeze(model, ["part"])
    with tuned(model, stage, {"part": "base"}):
        steps(model, config, COMPONENTS[name][2], [])
    return model


def test_every_component_is_here() -> None:
    used = {preset_fields(kind, preset)["use"] for kind, preset, *_ in COMPONENTS.values()}
    every = {name for kind in ("encoder", "projector", "backbone", "head", "codec") for name in registry.components(kind)}
    assert every - used == set(NEVER_TRAINED)


@pytest.mark.parametrize("name", COMPONENTS)
def test_frozen_nothing_moves_and_no_gradient_comes(name: str) -> None:
    model, config = build(name)
    stage = StagePlan("learn", Stage(), (), ("part",), {}, ())
    freeze(model, [])
    before, snapshot = weights_hash(model.part), Snapshot.of(model, stage)
    steps(model, config, COMPONENTS[name][2], [torch.ones(1, requires_grad=True)])
    snapshot.check(model, {})
    assert weights_hash(model.part) == before
    assert all(weights.grad is None for weights in model.parameters())


@pytest.mark.parametrize("name", COMPONENTS)
def test_trained_every_tensor_moves(name: str) -> None:
    learn(name, None)


@pytest.mark.parametrize("name", [name for name in COMPONENTS if name not in NO_ADAPTERS])
def test_adapters_move_and_the_rest_stays(name: str) -> None:
    learn(name, Tuning(Lora(rank=2)))


def test_the_only_unused_parameters_are_these() -> None:
    """Of a last layer of prefixes or experts keys and values alone are read. Codes are moving averages, or not used."""
    idle = {name: unused(build(name)[0].part) for name in COMPONENTS}
    expected = {"hf_expert", "nar_ar prefix", "ticodec", "dac of fewer codebooks"}
    assert {name for name, names in idle.items() if names} == expected
    assert all(name.startswith("expert.2.") and not name.endswith(("k_proj.weight", "v_proj.weight"))
               for name in idle["hf_expert"])
    assert all(name.startswith("quantizer.") for name in idle["ticodec"])
    assert all(name.startswith(("model.quantizer.quantizers.2.", "model.quantizer.quantizers.3."))
               for name in idle["dac of fewer codebooks"])
    names, last = idle["nar_ar prefix"], len(build("nar_ar prefix")[0].part.layers_prefix) - 1
    assert all(name.startswith(f"layers_prefix.{last}.") for name in names)
    assert not any(name.endswith((".k_proj.weight", ".v_proj.weight", ".input_layernorm.weight")) for name in names)


def test_where_there_is_no_linear_layer_adapters_are_refused() -> None:
    with pytest.raises(RunError, match="finds no linear layer in part"):
        target_layers(build("prompt_embeddings")[0].part, Lora(), "train.part.lora", "part")
