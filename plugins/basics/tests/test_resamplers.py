"""Q-Formers, resamplers and pooling projectors equal transformers' modules with the same weights, and keep their contract."""

import math
from fractions import Fraction
from types import SimpleNamespace

import pytest
import torch
from omnikit_basics.config import (
    AveragePool,
    BertQFormer,
    Mlp,
    PerceiverResampler,
    PixelShuffleMlp,
    QueryResampler,
    StackMlp,
    WindowQFormer,
)
from omnikit_basics.query_resampler import grid_sines
from torch import Tensor, nn
from torch.testing import assert_close
from transformers import Blip2QFormerConfig, Blip2QFormerModel, InstructBlipQFormerConfig, InstructBlipQFormerModel
from transformers.models.granite_speech.modeling_granite_speech import GraniteSpeechEncoderProjector
from transformers.models.idefics.perceiver import IdeficsPerceiverResampler
from transformers.models.idefics3.modeling_idefics3 import Idefics3Connector
from transformers.models.internvl.modeling_internvl import InternVLModel
from transformers.models.vipllava.modeling_vipllava import VipLlavaMultiModalProjector
from transformers.models.voxtral.modeling_voxtral import VoxtralMultiModalProjector

from omnikit.contracts.configs import FusionProjectorConfig, ProjectorConfig
from omnikit.contracts.specs import FeatureSpec
from omnikit.contracts.types import Features, Targets
from omnikit.errors import DataError

RATE, CLOSE = Fraction(50), {"atol": 1e-5, "rtol": 1e-5}  # float32 sums in another order
SEQUENCE: dict[str, ProjectorConfig] = {
    "bert_qformer": BertQFormer(4, dim=16, layers=3, heads=2, ffn=24),
    "window_qformer": WindowQFormer(3, 2, dim=16, layers=2, heads=2, ffn=24, norm=True),
    "window_qformer_drop": WindowQFormer(4, 2, dim=16, layers=2, heads=2, ffn=24, tail="drop"),
    "perceiver_resampler": PerceiverResampler(4, layers=2, heads=2, head_dim=4, qk_norm=True),
    "query_resampler": QueryResampler(4, dim=16, layers=2, heads=2, ffn=24, with_queries=True),
    "query_resampler_plain": QueryResampler(4, dim=16, layers=1, heads=2, positions="none", residual=False),
    "average_pool": AveragePool(2, norm=True),
    "stack_mlp": StackMlp(2, 0, activation="gelu", bias=False)}
GRID: dict[str, ProjectorConfig] = {
    "query_resampler": QueryResampler(9, dim=16, heads=2, positions="2d"),
    "pixel_shuffle": PixelShuffleMlp(2, norm=True), "pixel_shuffle_linear": PixelShuffleMlp(2, depth=1, bias=False)}
EVERY = {**SEQUENCE, **{f"{name}_grid": config for name, config in GRID.items()}}


def features(lengths: list[int], dim: int = 8, seed: int = 0, rate: Fraction | None = RATE) -> Features:
    """Random vectors; the padding is huge, so that a leak shows."""
    data = torch.randn(len(lengths), max(lengths), dim, generator=torch.Generator().manual_seed(seed))
    for row, length in enumerate(lengths):
        data[row, length:] = 1e4
    return Features(data, torch.tensor(lengths), rate)


def built(config: ProjectorConfig, source: FeatureSpec | None = None, dim: int = 6) -> nn.Module:
    torch.manual_seed(0)
    return randomised(config.build(source or FeatureSpec(8, RATE), dim)).eval()


def randomised(module: nn.Module) -> nn.Module:
    """Move every parameter off the constants that norms and biases begin with."""
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return module


@pytest.mark.parametrize("name", SEQUENCE)
@pytest.mark.parametrize("length", [1, 2, 3, 7, 12])
def test_contract_states_what_comes_out(name: str, length: int) -> None:
    config = SEQUENCE[name]
    out, spec = built(config)(features([length])), config.output(FeatureSpec(8, RATE), 6)
    assert out.lengths.tolist() == [config.length(length)]
    assert tuple(out.data.shape) == (1, config.length(length), 6)
    assert out.rate == spec.rate


@pytest.mark.parametrize("name", GRID)
def test_a_grid_gives_the_stated_count(name: str) -> None:
    config, source = GRID[name], FeatureSpec(8, count=16)
    out = built(config, source)(features([16, 36], rate=None))
    assert out.lengths.tolist() == [config.length(16), config.length(36)]
    assert config.output(source, 6).count == config.length(16)


@pytest.mark.parametrize("name", EVERY)
def test_a_row_alone_equals_the_row_in_a_batch(name: str) -> None:
    module, batch = built(EVERY[name], FeatureSpec(8, count=16)), features([36, 16, 4])
    together = module(batch)
    for row, length in enumerate([36, 16, 4]):
        alone = module(Features(batch.data[row:row + 1, :length], batch.lengths[row:row + 1], RATE))
        assert_close(together.data[row, :int(alone.lengths)], alone.data[0], **CLOSE)


@pytest.mark.parametrize("name", EVERY)
def test_every_parameter_learns_and_is_counted(name: str) -> None:
    config, source = EVERY[name], FeatureSpec(8, count=16)
    module = built(config, source).train()
    module(features([16, 16])).data.square().sum().backward()
    assert [n for n, p in module.named_parameters() if p.grad is None or not p.grad.any()] == []
    assert config.footprint(source, 6).parameters == sum(p.numel() for p in module.parameters())  # type: ignore[attr-defined]


def test_windows_of_two_encoders_are_joined_frame_by_frame() -> None:
    config = WindowQFormer(3, 1, dim=16, layers=2, heads=2, ffn=24, norm=True)
    assert isinstance(config, FusionProjectorConfig)
    sources = [FeatureSpec(8, RATE), FeatureSpec(6, RATE)]
    module = randomised(config.build_fused(sources, 6)).eval()
    one, two = features([7, 4]), features([5, 6], 6, 1)
    out = module(one, two)
    assert out.lengths.tolist() == [config.fused_length([7, 5]), config.fused_length([4, 6])] == [3, 2]
    padded = torch.cat([module.norms[0](one.data[:1]), nn.functional.pad(module.norms[1](two.data[:1, :5]), (0, 0, 0, 2))], -1)
    for window, (begin, end) in enumerate([(0, 3), (3, 6), (6, 9)]):
        cut = nn.functional.pad(padded[:, begin:end], (0, 0, 0, 3 - padded[:, begin:end].shape[1]))
        assert_close(out.data[:1, window], module.linear(module.qformer(module.query, cut))[:, 0], **CLOSE)
    assert config.fused_footprint(sources, 6).parameters == sum(p.numel() for p in module.parameters())


def qformer_config(**sizes: int) -> Blip2QFormerConfig:
    return Blip2QFormerConfig(hidden_size=16, num_attention_heads=2, intermediate_size=24, encoder_hidden_size=8,
                              hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0, **sizes)


@torch.no_grad()
def test_bert_qformer_equals_blip_2() -> None:
    ours = built(SEQUENCE["bert_qformer"])
    theirs = Blip2QFormerModel(qformer_config(num_hidden_layers=3, cross_attention_frequency=2)).eval()
    theirs.load_state_dict(ours.qformer.state_dict())
    x = features([9, 5])
    mask = (torch.arange(9) < x.lengths[:, None]).long()
    expected = theirs(ours.query_tokens.expand(2, -1, -1), encoder_hidden_states=x.data, encoder_attention_mask=mask)
    assert_close(ours(x).data, ours.language_projection(expected.last_hidden_state), **CLOSE)


@torch.no_grad()
def test_window_qformer_equals_granite() -> None:
    ours = built(WindowQFormer(6, 3, dim=16, layers=2, heads=2, ffn=24))
    theirs = GraniteSpeechEncoderProjector(SimpleNamespace(
        projector_config=qformer_config(num_hidden_layers=2, cross_attention_frequency=1), downsample_rate=2, window_size=6,
        text_config=SimpleNamespace(hidden_size=6)))  # type: ignore[arg-type]  # what it reads of a configuration
    theirs.load_state_dict(ours.state_dict())
    x = features([14])
    assert_close(ours(x).data, theirs.eval()(x.data), **CLOSE)


@torch.no_grad()
def test_perceiver_equals_idefics() -> None:
    ours = built(SEQUENCE["perceiver_resampler"])
    vision = SimpleNamespace(embed_dim=8)
    config = SimpleNamespace(perceiver_config=SimpleNamespace(qk_layer_norms_perceiver=True), vision_config=vision)
    theirs = IdeficsPerceiverResampler(config, 8, 2, 2, 4, 4)  # type: ignore[arg-type]  # what it reads of a configuration
    theirs.load_state_dict({name: value for name, value in ours.state_dict().items() if "linear" not in name})
    x = features([9])
    assert_close(ours(x).data, ours.linear(theirs(x.data)), **CLOSE)


@torch.no_grad()
def test_pixel_shuffle_equals_idefics_3_and_internvl() -> None:
    ours, x = built(GRID["pixel_shuffle_linear"]), features([36])
    config = SimpleNamespace(scale_factor=2, vision_config=SimpleNamespace(hidden_size=8),
                             text_config=SimpleNamespace(hidden_size=6))
    theirs = Idefics3Connector(config)
    theirs.modality_projection.proj.weight.copy_(ours.project.layers[0].weight)
    assert_close(ours(x).data, theirs(x.data), **CLOSE)
    shuffled = InternVLModel.pixel_shuffle(None, x.data.view(1, 6, 6, 8)).flatten(1, 2)  # type: ignore[arg-type]  # no self in it
    assert_close(ours(x).data, shuffled @ ours.project.layers[0].weight.T, **CLOSE)


@torch.no_grad()
def test_stack_mlp_equals_voxtral_and_mlp_with_a_norm_vip_llava() -> None:
    text = SimpleNamespace(hidden_size=6)
    config = SimpleNamespace(audio_config=SimpleNamespace(intermediate_size=16), text_config=text, projector_hidden_act="gelu")
    voxtral, ours, x = VoxtralMultiModalProjector(config), built(SEQUENCE["stack_mlp"]), features([8])
    copied(voxtral, [ours.linear1, ours.linear2])
    assert_close(ours(x).data, voxtral(x.data.reshape(1, 4, 16)), **CLOSE)
    config = SimpleNamespace(vision_feature_layer=[-1, -2], vision_config=SimpleNamespace(hidden_size=4), text_config=text,
                             projector_hidden_act="gelu", projector_layernorm_eps=1e-5)
    vip, ours = VipLlavaMultiModalProjector(config), built(Mlp(0, norm=True))  # encoders join `feature_layers` to a wide vector
    copied(vip, [ours.norm, ours.layers[0], ours.layers[2]])
    assert_close(ours(x).data, vip(x.data), **CLOSE)


def copied(theirs: nn.Module, ours: list[nn.Module]) -> None:
    mine: list[Tensor] = [parameter for module in ours for parameter in module.parameters()]
    for parameter, other in zip(theirs.parameters(), mine, strict=True):
        parameter.copy_(other)


@torch.no_grad()
def test_average_pool_is_the_mean_of_pairs() -> None:
    module, x = built(AveragePool(2)), features([7])
    expected = nn.AvgPool1d(2, 2)(x.data.transpose(1, 2)).transpose(1, 2)
    assert_close(module(x).data, expected @ module.linear.weight.T + module.linear.bias, **CLOSE)


@torch.no_grad()
def test_query_resampler_equals_attention_by_qwen_vl_s_formula() -> None:
    module = built(QueryResampler(4, dim=8, heads=1, positions="2d", residual=False), FeatureSpec(8, count=4))
    x, layer, table = features([4]), module.layers[0], grid_sines(2, 8, torch.device("cpu"))
    values = module.ln_kv(module.kv_proj(x.data[0]))
    (wq, wk, wv), (bq, bk, bv) = layer.attn.in_proj_weight.chunk(3), layer.attn.in_proj_bias.chunk(3)
    q, k, v = (layer.ln_q(module.query) + table) @ wq.T + bq, (values + table) @ wk.T + bk, values @ wv.T + bv
    y = layer.attn.out_proj((q @ k.T / math.sqrt(8)).softmax(-1) @ v)
    assert_close(module(x).data[0], module.proj(module.ln_post(y)), **CLOSE)


def test_grid_positions_are_sines_of_column_and_row() -> None:
    table = grid_sines(3, 8, torch.device("cpu"))[5]  # row 1, column 2
    column, row = ([math.sin(at), math.sin(at / 100), math.cos(at), math.cos(at / 100)] for at in (2, 1))
    assert_close(table, torch.tensor([*column, *row]))


@pytest.mark.parametrize(("act", "message"), [
    (lambda: BertQFormer(dim=10, heads=4), "heads is 4, but must divide dim, which is 10"),
    (lambda: WindowQFormer(dropout=1.0), "dropout is 1.0, but must be at least 0 and below 1"),
    (lambda: QueryResampler(5, positions="2d"), "queries is 5, but positions in 2-D need a square, such as 4"),
    (lambda: QueryResampler(4, positions="2d").output(FeatureSpec(8, RATE), 8), "is not the square grid of an image"),
    (lambda: PixelShuffleMlp(2).output(FeatureSpec(8, count=25), 6), "is not a square grid whose side it divides"),
    (lambda: PixelShuffleMlp(depth=0), "depth is 0, but must be 1 to 64"),
    (lambda: WindowQFormer().fused_output([FeatureSpec(8, RATE), FeatureSpec(8, count=4)], 6), "joins features frame")])
def test_impossible_value_is_a_sentence(act: type[object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        act()


def instructed() -> tuple[BertQFormer, InstructBlipQFormerModel]:
    """A Q-Former that reads text, and transformers' of the same sizes."""
    config = BertQFormer(4, dim=16, layers=3, heads=2, ffn=24, tokenizer="tiny", vocabulary=50, context=20)
    return config, randomised(InstructBlipQFormerModel(InstructBlipQFormerConfig(
        vocab_size=50, hidden_size=16, num_hidden_layers=3, num_attention_heads=2, intermediate_size=24,
        max_position_embeddings=20, cross_attention_frequency=2, encoder_hidden_size=8))).eval()  # type: ignore[return-value]


def test_a_qformer_with_text_is_instructblip_s() -> None:
    config, theirs = instructed()
    ours = built(config)
    ours.qformer.load_state_dict(theirs.state_dict())  # type: ignore[union-attr]
    ids, lengths = torch.randint(1, 50, (2, 6), generator=torch.Generator().manual_seed(3)), torch.tensor([6, 4])
    given = features([9, 5])
    mask, valid = torch.arange(6) < lengths[:, None], torch.arange(9) < torch.tensor([9, 5])[:, None]
    queries = ours.query_tokens.expand(2, -1, -1)  # type: ignore[operator]
    expected = theirs(input_ids=ids, attention_mask=torch.cat([torch.ones(2, 4), mask], dim=1).long(), query_embeds=queries,
                      encoder_hidden_states=given.data, encoder_attention_mask=valid.long()).last_hidden_state[:, :4]
    found = ours(given, instructions=Targets(ids, lengths)).data
    assert_close(found, ours.language_projection(expected), **CLOSE)  # type: ignore[operator]
    other = ours(given, instructions=Targets(ids.flip(1), lengths)).data
    assert float((other - found).detach().abs().max()) > 1e-3  # the text matters


@pytest.mark.parametrize("ids,sentence", [
    (torch.tensor([[50]]), r"token 50, but the Q-Former's vocabulary is 50; set the projector's vocabulary"),
    (torch.ones(1, 21, dtype=torch.int64), r"has 21 tokens, but the Q-Former has positions for 20; raise the projector's")])
def test_text_that_does_not_fit_is_one_sentence(ids: Tensor, sentence: str) -> None:
    with pytest.raises(DataError, match=sentence):
        built(instructed()[0])(features([3]), instructions=Targets(ids, torch.tensor([ids.shape[1]])))
