"""InternViT: sizes, order of the shuffled patches, positions, drop path, published weights. Goldens: tests/parity."""

import json
import re
from pathlib import Path

import pytest
import torch
from omnikit_internvit.config import InternVit
from omnikit_internvit.model import InternVitEncoder, Layer, fit_positions, pixel_shuffle
from safetensors.torch import save_file
from torch.testing import assert_close

from omnikit import registry
from omnikit.contracts.configs import EncoderConfig
from omnikit.contracts.types import Signal
from omnikit.errors import RunError
from omnikit.recipe import presets

TINY = {"size": 16, "patch": 4, "dim": 16, "layers": 3, "heads": 2, "ffn": 24, "drop_path": 0.0}


def tiny(**fields: object) -> InternVitEncoder:
    torch.manual_seed(0)
    return InternVit(**{**TINY, **fields}).build().eval()


def tiles(count: int = 2, size: int = 16) -> Signal:
    data = torch.randn(count, 3, size, size, generator=torch.Generator().manual_seed(0))
    return Signal(data, torch.ones(count, dtype=torch.int64))


def saved(encoder: InternVitEncoder, folder: Path, prefix: str = "") -> str:
    save_file({prefix + name: tensor.clone() for name, tensor in encoder.state_dict().items()}, folder / "model.safetensors")
    return str(folder)


def test_300m_has_the_published_size() -> None:
    values = presets.preset_fields("encoder", "internvit_300m_448")
    config = InternVit(**{**{name: value for name, value in values.items() if name != "use"}, "weights": "nowhere"})
    with torch.device("meta"):
        encoder = config.build()
    assert sum(p.numel() for p in encoder.parameters()) == 304_012_288  # vita.md, section 2.1
    assert (config.output.dim, config.output.count, config.length(1)) == (4096, 256, 256)
    assert encoder.state_dict()["embeddings.position_embedding"].shape == (1, 1025, 1024)
    assert encoder.state_dict()["encoder.layers.23.attn.qkv.bias"].shape == (3072,)


def test_features_keep_the_promise_of_the_config() -> None:
    encoder = tiny()
    out = encoder(tiles())
    assert out.data.shape == (2, encoder.config.output.count, encoder.config.output.dim) == (2, 4, 64)
    assert (out.lengths.tolist(), out.rate) == ([4, 4], None)


def test_shuffle_joins_upper_left_upper_right_lower_left_lower_right() -> None:
    square = torch.arange(16).view(1, 4, 4, 1)  # numbered row by row
    assert pixel_shuffle(square).flatten(1, 2)[0].tolist() == [[0, 1, 4, 5], [2, 3, 6, 7], [8, 9, 12, 13], [10, 11, 14, 15]]


def test_features_are_the_hidden_vectors_without_the_class_token_times_the_gain() -> None:
    encoder = tiny(gain=0.5)
    hidden = encoder.encoder(encoder.embeddings(tiles().data))  # [2, 17, 16]
    upper_left = torch.stack([hidden[:, 1 + place] for place in (0, 1, 4, 5)], dim=1).flatten(1)
    assert_close(encoder(tiles()).data[:, 0], 0.5 * upper_left)


def test_tile_alone_equals_tile_among_others() -> None:
    encoder = tiny()
    assert_close(encoder(tiles()).data[1:], encoder(Signal(tiles().data[1:], torch.ones(1, dtype=torch.int64))).data)


@pytest.mark.parametrize("layer", [-2, 2], ids=["from the end", "from the start"])
def test_chosen_layer_is_the_last_that_is_built(tmp_path: Path, layer: int) -> None:
    whole = tiny()
    short = tiny(layer=layer, weights=saved(whole, tmp_path))
    hidden = whole.embeddings(tiles().data)
    for index in range(2):
        hidden = whole.encoder.layers[index](hidden)
    assert len(short.encoder.layers) == 2
    assert_close(short(tiles()).data, whole.joined(hidden))


def test_stretched_positions_are_cubic_and_leave_the_class_token() -> None:
    column = torch.randn(8, generator=torch.Generator().manual_seed(0))  # differs from row to row only
    square = column[:, None].expand(8, 8).reshape(1, 64, 1)
    stretched = fit_positions(torch.cat([torch.full((1, 1, 1), 9.0), square], dim=1), (16, 16))
    assert stretched.shape == (1, 257, 1) and stretched[0, 0, 0] == 9.0
    offsets = torch.tensor([1.75, 0.75, 0.25, 1.25])  # of the four neighbours of row 2 i + 1, which lies a quarter behind row i
    near, far = offsets[[1, 2]], offsets[[0, 3]]
    weights = torch.empty(4)  # cubic convolution with a = -0.75 (Keys 1981), as torch has it
    weights[[1, 2]] = 1.25 * near**3 - 2.25 * near**2 + 1
    weights[[0, 3]] = -0.75 * far**3 + 3.75 * far**2 - 6 * far + 3
    expected = sum(weights.flip(0)[k] * column[k:k + 5] for k in range(4))  # rows 3, 5, … 11
    assert_close(stretched[0, 1:, 0].view(16, 16)[3:12:2, 5], expected)


def test_positions_are_stretched_in_float32() -> None:
    positions = torch.randn(1, 17, 16, generator=torch.Generator().manual_seed(0)).bfloat16()
    assert torch.equal(fit_positions(positions, (6, 6)), fit_positions(positions.float(), (6, 6)).bfloat16())


def test_checkpoint_of_another_tile_size_loads_with_its_positions_stretched(tmp_path: Path) -> None:
    small = tiny()
    large = tiny(size=24, weights=saved(small, tmp_path))
    assert_close(large.embeddings.position_embedding.data, fit_positions(small.embeddings.position_embedding.data, (6, 6)))
    assert_close(large(tiles(size=24)).data, small.joined(small.encoder(small.embeddings(tiles(size=24).data))))


def test_drop_path_skips_rows_in_training_only_and_keeps_the_mean() -> None:
    layer = Layer(InternVit(**TINY), skipped=0.25)
    x = torch.ones(8000, 1, 4)
    torch.manual_seed(0)
    dropped = layer.train().dropped(x)
    assert sorted(dropped.unique().tolist()) == pytest.approx([0.0, 4 / 3])
    assert abs(dropped.mean() - 1.0) < 0.03  # 8000 rows: a standard error of 0.0065
    assert layer.eval().dropped(x) is x


def test_drop_path_grows_with_depth() -> None:
    assert [layer.skipped for layer in tiny(drop_path=0.2).encoder.layers] == pytest.approx([0.0, 0.1, 0.2])


def test_every_parameter_learns() -> None:
    encoder = tiny(norm="rms", qk_norm=True, qkv_bias=False).train()
    encoder(tiles()).data.square().mean().backward()
    assert [name for name, p in encoder.named_parameters() if p.grad is None or not p.grad.any()] == []


def test_bfloat16_tower_gives_bfloat16() -> None:
    assert tiny().to(torch.bfloat16)(tiles()).data.dtype == torch.bfloat16


@pytest.mark.parametrize("prefix", ["", "vision_model.", "model.vision_tower.vision_tower."], ids=["own", "internvl", "vita"])
def test_weights_load_from_every_published_place(tmp_path: Path, prefix: str) -> None:
    original = tiny(qk_norm=True)
    torch.manual_seed(1)
    encoder = InternVit(**TINY, qk_norm=True, weights=saved(original, tmp_path, prefix)).build()
    assert_close(encoder.state_dict(), original.state_dict())


def test_weights_load_from_one_file_and_from_shards(tmp_path: Path) -> None:
    state = tiny().state_dict()
    names = {name: f"{index % 2}.bin" for index, name in enumerate(state)}
    for file in ("0.bin", "1.bin"):
        torch.save({name: tensor for name, tensor in state.items() if names[name] == file}, tmp_path / file)
    (tmp_path / "pytorch_model.bin.index.json").write_text(json.dumps({"weight_map": names}))
    assert_close(InternVit(**TINY, weights=str(tmp_path)).build().state_dict(), state)
    torch.save(state, tmp_path / "whole.pt")
    assert_close(InternVit(**TINY, weights=str(tmp_path / "whole.pt")).build().state_dict(), state)


@pytest.mark.parametrize(("fields", "words"), [
    ({"dim": 32}, "embeddings.class_embedding has the shape [1, 1, 16], but the configuration makes it [1, 1, 32] (and"),
    ({"qk_norm": True}, "encoder.layers.0.attn.q_norm.weight is missing (and 5 more); choose the preset of that size"),
    ({"layers": 2}, "encoder.layers.2.attn.proj.bias is unexpected (and 13 more); choose the preset of that size"),
], ids=["shape", "missing", "unexpected"])  # fmt: skip
def test_weights_that_do_not_fit_are_a_sentence(tmp_path: Path, fields: dict[str, object], words: str) -> None:
    weights = saved(tiny(), tmp_path)
    with pytest.raises(RunError, match=re.escape(words)):
        tiny(weights=weights, **fields)


def test_settings_that_no_shape_shows_are_read_from_config_json(tmp_path: Path) -> None:
    weights = saved(tiny(), tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({"num_attention_heads": 4, "layer_norm_eps": 1e-6}))
    with pytest.raises(RunError, match=r"config\.json has num_attention_heads 4, but internvit's field `heads` is 2; choose"):
        tiny(weights=weights)


def test_weights_that_are_not_there_are_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=re.escape(str(tmp_path)) + " holds no weights: .* shards; internvit's field `weights`"):
        tiny(weights=str(tmp_path))


@pytest.mark.parametrize("name", ["model.safetensors", "pytorch_model.bin"])
def test_broken_weights_are_a_sentence(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"half a file")
    with pytest.raises(RunError, match=re.escape(name)):
        tiny(weights=str(tmp_path))


@pytest.mark.parametrize(("fields", "words"), [
    ({"size": 20}, "size is 20, but must be a multiple of 8: patches of 4 pixels are joined 2 by 2"),
    ({"heads": 3}, "heads is 3, but must divide dim, which is 16"),
    ({"layer": 0}, "layer is 0, but must be from 1 to 3, or from -3 to -1"),
    ({"drop_path": 1.0}, "drop_path is 1.0, but must be at least 0 and below 1"),
    ({"most_frames": 2}, "videos of 4 to 2 frames"),
])  # fmt: skip
def test_settings_that_cannot_be_are_a_sentence(fields: dict[str, object], words: str) -> None:
    with pytest.raises(ValueError, match=re.escape(words)):
        InternVit(**{**TINY, **fields})


def test_images_are_cut_by_the_fields() -> None:
    spec = InternVit(size=448, patch=14, most_tiles=6, thumbnail=False, frame_rate=3.0).image_spec
    assert (spec.size, spec.most_tiles, spec.thumbnail, spec.frame_rate) == (448, 6, False, 3.0)


@pytest.mark.parametrize("name", ["internvit_300m_448", "internvit_6b_448", "internvit_tiny_random"])
def test_presets_are_encoders_of_images(name: str) -> None:
    values = presets.preset_fields("encoder", name)
    config = registry.component("encoder", values.pop("use"))(**values)
    assert isinstance(config, EncoderConfig) and config.input.modality == "image"
    assert config.image_spec.size == config.input.shape[1] == config.size


def test_stem_gives_as_many_patches_and_reaches_beyond_them() -> None:
    config = InternVit(**{**TINY, "stem": (4, 8)})
    patches = config.build().eval().embeddings.patch_embedding
    pixels = torch.zeros(1, 3, 16, 16)
    moved = pixels.clone()
    moved[0, :, 3, 3] = 1.0  # the last pixel of the first patch, the neighbour of three others
    with torch.no_grad():
        before, behind = patches[0](pixels), patches[0](moved)
        assert patches(pixels).shape == (1, config.dim, config.grid, config.grid)
    assert (before != behind)[0].any(0).sum() == 4  # 3x3 at stride 2: an odd pixel lies under four windows


def test_stem_that_halves_too_often_is_refused() -> None:
    with pytest.raises(ValueError, match=r"stem is \[4\], but patch is 4, and 1 convolutions of stride 2 make patches of 2"):
        InternVit(**{**TINY, "stem": (4,)})
