"""Image towers against transformers' own, from folders that it wrote: outputs, images, sizes, and what is refused."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from omnikit_hf_vision.config import HfVision
from omnikit_hf_vision.families import FAMILIES
from omnikit_hf_vision.model import HfVisionEncoder
from omnikit_hf_vision.weights import MODELS
from PIL import Image
from transformers import CLIPConfig, CLIPModel, SamConfig, SamModel, Siglip2Config, Siglip2Model, SiglipConfig, SiglipModel
from transformers.modeling_utils import PreTrainedModel
from transformers.models.bit.image_processing_pil_bit import BitImageProcessorPil
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
from transformers.models.sam.image_processing_pil_sam import SamImageProcessorPil
from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil
from transformers.models.siglip2.image_processing_pil_siglip2 import Siglip2ImageProcessorPil

from omnikit import registry
from omnikit.contracts.configs import EncoderConfig
from omnikit.contracts.types import Signal
from omnikit.data.media.image import cut_tiles, normalise
from omnikit.errors import PlanError, RunError
from omnikit.recipe import presets
from omnikit.recipe.compose import compose
from omnikit.recipe.schema import construct

SMALL = {"hidden_size": 16, "num_hidden_layers": 3, "num_attention_heads": 2, "patch_size": 8}
SIZES: dict[str, dict[str, Any]] = {
    "clip": {**SMALL, "intermediate_size": 24, "image_size": 32},
    "siglip": {**SMALL, "intermediate_size": 24, "image_size": 36},  # 4 patches and a rest, as 384 / 14
    "siglip2": {**SMALL, "intermediate_size": 24, "num_patches": 16},
    "dinov2": {**SMALL, "mlp_ratio": 2, "image_size": 48, "layerscale_value": 0.5},
    "sam": {**SMALL, "mlp_dim": 24, "image_size": 32, "window_size": 3, "global_attn_indexes": [1], "output_channels": 4,
            "initializer_range": 0.02}}  # its neck as wide as its grid
NAMES = list(SIZES)


def tower(name: str, **changes: object) -> PreTrainedModel:
    """transformers' module with random weights, none of them zero."""
    torch.manual_seed(0)
    config, model = MODELS[name]
    built = model(config(**{**SIZES[name], **changes})).eval()
    with torch.no_grad():
        for parameter in built.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return built


def saved(model: PreTrainedModel, folder: Path, **processor: object) -> str:
    model.save_pretrained(folder)
    if processor:
        (folder / "preprocessor_config.json").write_text(json.dumps(processor))
    return str(folder)


def pixels(size: int, count: int = 2) -> torch.Tensor:
    return torch.randn(count, 3, size, size, generator=torch.Generator().manual_seed(1))


def theirs(model: PreTrainedModel, name: str, images: torch.Tensor, **options: object) -> Any:
    if name == "siglip2":  # patches cut by its own image processor's function
        from transformers.models.siglip2.image_processing_pil_siglip2 import convert_image_to_patches

        cut = np.stack([convert_image_to_patches(image, 8) for image in images.numpy()])
        side = images.shape[2] // 8
        return model(pixel_values=torch.from_numpy(cut), spatial_shapes=torch.tensor([[side, side]] * len(images)),
                     pixel_attention_mask=torch.ones(cut.shape[:2], dtype=torch.int32), **options)
    return model(pixel_values=images, **options)


def ours(encoder: HfVisionEncoder, images: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        return encoder.eval()(Signal(images, torch.ones(len(images), dtype=torch.int64))).data


@pytest.mark.parametrize("name", NAMES)
def test_features_equal_the_librarys_last_hidden_state(tmp_path: Path, name: str) -> None:
    model = tower(name)
    config = HfVision(weights=saved(model, tmp_path))
    images = pixels(config.tower.size)
    with torch.no_grad():
        expected = theirs(model, name, images).last_hidden_state
    expected = expected.flatten(2).transpose(1, 2) if name == "sam" else expected[:, FAMILIES[name].class_tokens:]
    found = ours(config.build(), images)
    assert torch.equal(found, expected)
    assert found.shape[1:] == (config.output.count, config.output.dim)


@pytest.mark.parametrize("name", NAMES)
def test_chosen_layers_equal_the_librarys_hidden_states(tmp_path: Path, name: str) -> None:
    model = tower(name)
    config = HfVision(weights=saved(model, tmp_path), feature_layers=(0, -2), class_token=name in ("clip", "dinov2"))
    images = pixels(config.tower.size)
    with torch.no_grad():
        states = theirs(model, name, images, output_hidden_states=True).hidden_states
    expected = torch.cat([states[0], states[-2]], dim=-1)
    encoder = config.build()
    found = ours(encoder, images)
    assert torch.equal(found, expected.flatten(1, 2) if name == "sam" else expected)
    assert found.shape[1:] == (config.output.count, config.output.dim)
    assert sum(".1." in key for key in encoder.state_dict()) and not any(".2." in key for key in encoder.state_dict())


@pytest.mark.parametrize("name", ["siglip", "siglip2", "dinov2", "sam"])
def test_last_layer_without_the_final_norm_is_the_last_hidden_state_of_the_list(tmp_path: Path, name: str) -> None:
    model = tower(name)
    config = HfVision(weights=saved(model, tmp_path), final_norm=False)
    images = pixels(config.tower.size)
    with torch.no_grad():
        expected = theirs(model, name, images, output_hidden_states=True).hidden_states[-1]
    expected = expected.flatten(1, 2) if name == "sam" else expected[:, FAMILIES[name].class_tokens:]
    assert torch.equal(ours(config.build(), images), expected)


@pytest.mark.parametrize(("name", "size"), [("clip", 48), ("siglip", 48), ("siglip2", 48), ("dinov2", 32)])
def test_other_sizes_interpolate_positions_as_the_library_does(tmp_path: Path, name: str, size: int) -> None:
    model = tower(name)
    config = HfVision(weights=saved(model, tmp_path), size=size)
    options = {"interpolate_pos_encoding": True} if name in ("clip", "siglip") else {}
    with torch.no_grad():
        expected = theirs(model, name, pixels(size), **options).last_hidden_state[:, FAMILIES[name].class_tokens:]
    assert torch.equal(ours(config.build(), pixels(size)), expected)
    assert expected.shape[1] == config.output.count == (size // 8) ** 2


TEXT = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 1, "num_attention_heads": 2, "vocab_size": 32}
JOINT = {"clip": (CLIPConfig, CLIPModel), "siglip": (SiglipConfig, SiglipModel), "siglip2": (Siglip2Config, Siglip2Model)}


@pytest.mark.parametrize("name", JOINT)
def test_a_folder_with_a_text_tower_gives_its_image_tower(tmp_path: Path, name: str) -> None:
    config, joint = JOINT[name]
    model = joint(config(vision_config=SIZES[name], text_config=TEXT)).eval()
    config = HfVision(weights=saved(model, tmp_path))
    images = pixels(config.tower.size)
    with torch.no_grad():
        expected = theirs(model.vision_model, name, images).last_hidden_state[:, FAMILIES[name].class_tokens:]
    assert torch.equal(ours(config.build(), images), expected)


def test_sams_neck_follows_the_last_layer_alone(tmp_path: Path) -> None:
    model = tower("sam")
    config = HfVision(weights=saved(model, tmp_path), feature_layers=(1, 3))
    with torch.no_grad():
        found = model(pixels(32), output_hidden_states=True)
    expected = [found.hidden_states[1].flatten(1, 2), found.last_hidden_state.flatten(2).transpose(1, 2)]
    assert torch.equal(ours(config.build(), pixels(32)), torch.cat(expected, dim=2))
    assert config.output.dim == 16 + 4


def test_a_folder_of_sam_gives_its_image_encoder(tmp_path: Path) -> None:
    model = SamModel(SamConfig(vision_config=SIZES["sam"])).eval()
    encoder = HfVision(weights=saved(model, tmp_path)).build()
    with torch.no_grad():
        expected = model.vision_encoder(pixels(32)).last_hidden_state
    assert torch.equal(ours(encoder, pixels(32)), expected.flatten(2).transpose(1, 2))


def test_dinov2_with_gated_layers_loads(tmp_path: Path) -> None:
    model = tower("dinov2", use_swiglu_ffn=True)
    config = HfVision(weights=saved(model, tmp_path))
    with torch.no_grad():
        assert torch.equal(ours(config.build(), pixels(48)), model(pixels(48)).last_hidden_state[:, 1:])
    assert config.swiglu


def test_torch_shards_load_too(tmp_path: Path) -> None:
    model = tower("clip")
    saved(model, tmp_path)
    (tmp_path / "model.safetensors").unlink()
    torch.save(model.state_dict(), tmp_path / "pytorch_model.bin")
    with torch.no_grad():
        expected = model(pixels(32)).last_hidden_state[:, 1:]
    assert torch.equal(ours(HfVision(weights=str(tmp_path)).build(), pixels(32)), expected)


PROCESSORS = {
    "clip": (CLIPImageProcessorPil(size={"shortest_edge": 24}, crop_size={"height": 24, "width": 24}), "clip"),
    "clip larger": (CLIPImageProcessorPil(size={"shortest_edge": 31}, crop_size={"height": 24, "width": 24}), "clip"),
    "siglip": (SiglipImageProcessorPil(size={"height": 24, "width": 24}), "siglip"),
    "dinov2": (BitImageProcessorPil(size={"shortest_edge": 29}, crop_size={"height": 24, "width": 24}), "dinov2"),
    "lanczos": (SiglipImageProcessorPil(size={"height": 24, "width": 24}, resample=1), "siglip"),
}


@pytest.mark.parametrize("shape", [(40, 61), (61, 40), (17, 19), (24, 24)], ids=str)
@pytest.mark.parametrize("case", PROCESSORS)
def test_images_are_prepared_as_by_the_librarys_processor(tmp_path: Path, case: str, shape: tuple[int, int]) -> None:
    processor, name = PROCESSORS[case]
    saved(tower(name), tmp_path)
    processor.save_pretrained(tmp_path)
    config = HfVision(weights=str(tmp_path))
    image = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)
    expected = processor(Image.fromarray(image), return_tensors="np")["pixel_values"][0]
    found = normalise(cut_tiles(image, config.image_spec), config.image_spec)[0]
    assert config.tower.size == 24
    np.testing.assert_allclose(found, expected, atol=2e-6)  # float32: the same bytes, less the mean, in another order


@pytest.mark.parametrize("shape", [(40, 40), (9, 9)], ids=str)
def test_square_images_of_siglip2_are_prepared_as_by_its_processor(tmp_path: Path, shape: tuple[int, int]) -> None:
    processor = Siglip2ImageProcessorPil(patch_size=8, max_num_patches=16)
    saved(tower("siglip2"), tmp_path)
    processor.save_pretrained(tmp_path)
    config = HfVision(weights=str(tmp_path))
    image = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)
    expected = processor(Image.fromarray(image), return_tensors="pt")
    tiles = torch.from_numpy(normalise(cut_tiles(image, config.image_spec), config.image_spec))
    encoder = config.build()
    patches = encoder._inputs(tiles)["pixel_values"]
    assert expected["spatial_shapes"].tolist() == [[4, 4]]
    torch.testing.assert_close(patches, expected["pixel_values"].float(), atol=2e-6, rtol=0)


@pytest.mark.parametrize("shape", [(40, 61), (61, 40), (32, 32)], ids=str)
def test_images_of_sam_are_prepared_as_by_its_processor(tmp_path: Path, shape: tuple[int, int]) -> None:
    processor = SamImageProcessorPil(size={"longest_edge": 32}, pad_size={"height": 32, "width": 32})
    saved(tower("sam"), tmp_path)
    processor.save_pretrained(tmp_path)
    spec = HfVision(weights=str(tmp_path)).image_spec
    image = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)
    expected = processor(Image.fromarray(image), return_tensors="np")["pixel_values"][0]
    found = normalise(cut_tiles(image, spec), spec)[0]
    inside = expected != 0  # the padding is the mean colour, of which a byte is at most half a step away
    np.testing.assert_allclose(found[inside], expected[inside], atol=2e-6)
    assert np.abs(found - expected).max() < 0.5 / 255 / min(spec.deviation)


def test_old_processors_state_sizes_as_numbers(tmp_path: Path) -> None:
    config = HfVision(weights=saved(tower("clip"), tmp_path, size=40, crop_size=32, do_center_crop=True, do_resize=True,
                                    resample=3, image_mean=[0.1, 0.2, 0.3], image_std=[0.4, 0.5, 0.6]))
    assert (config.size, config.edge, config.fit, config.mean) == (32, 40, "crop", (0.1, 0.2, 0.3))


@pytest.mark.parametrize(("stated", "words"), [
    ({"do_rescale": False}, "has do_rescale False, but images are prepared with True alone"),
    ({"rescale_factor": 0.5}, "has rescale_factor 0.5, but bytes are divided by 255 alone"),
    ({"size": {"shortest_edge": 32}}, "but hf_vision takes squares: a square size, or a shortest edge with the centre cut out"),
    ({"size": {"height": 32, "width": 48}}, "makes images of 32 x 48, but hf_vision takes squares"),
    ({"size": {"height": 32.5, "width": 32.5}}, "has height 32.5, but it must be a whole number"),
    ({"image_mean": [0.5]}, "image_mean is [0.5], but must be three numbers"),
])
def test_other_processors_are_refused(tmp_path: Path, stated: dict[str, object], words: str) -> None:
    with pytest.raises(ValueError, match=re.escape(words)):
        HfVision(weights=saved(tower("clip"), tmp_path, **stated))


@pytest.mark.parametrize(("changes", "fields", "words"), [
    ({}, {"dim": 32}, "dim is 32, but config.json of .* states 16; leave dim out or give another folder"),
    ({}, {"family": "siglip"}, "family is siglip, but config.json of .* states clip"),
    ({"model_type": "vit"}, {}, "has model_type 'vit', but hf_vision builds clip, siglip, siglip2, dinov2, sam"),
    ({"num_channels": 1}, {}, "has num_channels 1, but hf_vision builds towers with 3 alone"),
    ({"layer_norm_eps": float("nan")}, {}, "has layer_norm_eps nan, but it must be a finite number above 0"),
    ({"num_attention_heads": 0}, {}, "has num_attention_heads 0, but it must be a whole number of at least 1"),
    ({"num_attention_heads": 3}, {}, "heads is 3, but must divide dim, which is 16"),
])
def test_what_a_config_json_cannot_be_is_a_sentence(tmp_path: Path, changes: dict[str, object], fields: dict[str, object],
                                                    words: str) -> None:
    folder = saved(tower("clip"), tmp_path)
    path = tmp_path / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))
    with pytest.raises(ValueError, match=words):
        HfVision(weights=folder, **fields)


def test_a_folder_without_config_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=re.escape(f"'{tmp_path}', but there is no config.json in it; give a folder")):
        HfVision(weights=str(tmp_path))


def test_a_download_cache_is_a_sentence_with_its_folder(tmp_path: Path) -> None:
    saved(tower("clip"), tmp_path / "snapshots" / "abc")
    with pytest.raises(ValueError, match=r"a download cache; its files are in .*snapshots/abc"):
        HfVision(weights=str(tmp_path))


@pytest.mark.parametrize(("fields", "words"), [
    ({"feature_layers": ()}, "feature_layers is [], but must name at least one layer"),
    ({"feature_layers": (1, 1)}, "must name at least one layer, and each once"),
    ({"feature_layers": (4,)}, "feature_layers is [4], but must be from 1 to 3, or from -3 to -1"),
    ({"feature_layers": (0,)}, "0 stands for the embeddings beside another one"),
    ({"family": "siglip", "class_token": True}, "class_token is true, but towers of family siglip have none"),
    ({"family": "clip", "window": 2}, "window is 2, but only towers of family sam have it, and this one is clip"),
    ({"family": "sam", "size": 32}, "size is 32 and trained_size 64, but images of family sam have the size"),
    ({"family": "sam", "global_layers": (3,)}, "global_layers is [3], but its layers are 0 to 2"),
    ({"resample": "cubic"}, "resample is 'cubic'"),
    ({"size": 8}, "size is 8, but a patch has 16 pixels; give at least that"),
    ({"dim": 0}, "dim is 0, but must be at least 1"),
])
def test_settings_that_cannot_be_are_a_sentence(fields: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=re.escape(words)):
        HfVision(**fields)


@pytest.mark.parametrize(("key", "shape", "words"), [
    ("encoder.layers.0.mlp.fc1.bias", None, "encoder.layers.0.mlp.fc1.bias is missing; give a complete checkpoint"),
    ("encoder.layers.9.mlp.fc1.bias", (24,), "encoder.layers.9.mlp.fc1.bias is unexpected"),
    ("pre_layrnorm.bias", (3,), "pre_layrnorm.bias has the shape [3], but the configuration makes it [16]"),
])
def test_weights_that_do_not_fit_are_a_sentence(tmp_path: Path, key: str, shape: tuple[int, ...] | None, words: str) -> None:
    model = tower("clip")
    folder, state = saved(model, tmp_path), model.state_dict()
    state.pop(key, None)
    (tmp_path / "model.safetensors").unlink()
    torch.save({**state, **({key: torch.zeros(shape)} if shape else {})}, tmp_path / "pytorch_model.bin")
    with pytest.raises(RunError, match=re.escape(words)):
        HfVision(weights=folder).build()


def test_settled_fields_build_the_tower_without_the_folder(tmp_path: Path) -> None:
    from omnikit.contracts.optional import without_weight_files

    model = tower("dinov2")
    config = HfVision(weights=saved(model, tmp_path, size={"shortest_edge": 30}, crop_size=24, do_center_crop=True))
    alone = without_weight_files(config)
    assert alone.tower == config.tower and alone.image_spec == config.image_spec
    encoder = alone.build()
    encoder.load_state_dict(config.build().state_dict())
    assert torch.equal(ours(encoder, pixels(24)), ours(config.build(), pixels(24)))


TINY = [f"{name}_tiny_random" for name in NAMES]
PUBLISHED = {  # features, width, parameters in millions of the image tower: README files and papers of the models
    "clip_vit_b_32": (49, 768, 87), "clip_vit_l_14_336": (576, 1024, 291), "siglip_so400m_14_384": (729, 1152, 413),
    "siglip2_base_16_naflex": (256, 768, 86), "dinov2_small": (256, 384, 22), "dinov2_giant": (256, 1536, 1136),
    "sam_vit_b": (4096, 256, 90), "sam_vit_h": (4096, 256, 637)}


def preset(name: str) -> HfVision:
    values = presets.preset_fields("encoder", name)
    config = registry.component("encoder", values.pop("use"))(**values)
    assert isinstance(config, HfVision) and isinstance(config, EncoderConfig)
    return config


@pytest.mark.parametrize("name", [*TINY, *PUBLISHED])
def test_footprint_counts_every_parameter(name: str) -> None:
    config = preset(name)
    with torch.device("meta"):
        encoder = config.build()
    assert config.footprint().parameters == sum(parameter.numel() for parameter in encoder.parameters())


@pytest.mark.parametrize("name", PUBLISHED)
def test_preset_has_the_published_size(name: str) -> None:
    config, (count, width, millions) = preset(name), PUBLISHED[name]
    assert (config.output.count, config.output.dim) == (count, width)
    assert config.footprint().parameters / 1e6 == pytest.approx(millions, rel=0.06)  # poolers and last layers left out


@pytest.mark.parametrize("name", TINY)
def test_every_parameter_of_a_tiny_tower_learns(name: str) -> None:
    torch.manual_seed(0)
    encoder = preset(name).build().train()
    out = encoder(Signal(pixels(64), torch.ones(2, dtype=torch.int64)))
    out.data.square().mul(torch.arange(1, 65)).mean().backward()
    assert out.data.shape == (2, 16, 64)
    assert [name for name, p in encoder.named_parameters() if p.grad is None or not p.grad.any()] == []


@pytest.mark.parametrize("name", TINY)
def test_tile_alone_equals_tile_among_others(name: str) -> None:
    encoder = preset(name).build()
    torch.testing.assert_close(ours(encoder, pixels(64))[1:], ours(encoder, pixels(64)[1:]), atol=1e-5, rtol=1e-4)


def test_bfloat16_tower_gives_bfloat16() -> None:
    assert ours(preset("sam_tiny_random").build().to(torch.bfloat16), pixels(64)).dtype == torch.bfloat16


@pytest.mark.parametrize("name", NAMES)
def test_defaults_are_the_librarys(name: str, tmp_path: Path) -> None:
    folder = tmp_path / "config.json"
    folder.write_text(json.dumps({"model_type": FAMILIES[name].types[0]}))
    config, built = HfVision(weights=str(tmp_path)), MODELS[name][0]()
    assert (config.dim, config.layers, config.heads) == (768, 12, 12)
    assert (config.patch, config.activation, config.eps) == (built.patch_size, built.hidden_act, built.layer_norm_eps)
    assert config.ffn == 3072 and config.trained_size == getattr(built, "image_size", 256)


def test_a_folder_replaces_the_sizes_of_a_preset_and_a_run_holds_them(tmp_path: Path) -> None:
    folder = saved(tower("siglip"), tmp_path)
    recipe = compose("vita_1_5/tiny", ["vision/encoder=sam_vit_b", f"vision.encoder.weights={folder}"])
    fields = recipe.branches["vision"]["encoder"].fields
    assert (fields["family"], fields["dim"], fields["trained_size"], fields["window"]) == ("siglip", 16, 36, None)
    errors: list[str] = []
    moved = construct(HfVision, {**fields, "weights": "/gone"}, "vision.encoder", errors)
    assert errors == [] and moved is not None and moved.tower == HfVision(weights=folder).tower


def test_a_size_that_a_recipe_sets_against_its_folder_is_a_sentence(tmp_path: Path) -> None:
    overrides = ["vision/encoder=hf_vision", f"vision.encoder.weights={saved(tower('siglip'), tmp_path)}"]
    with pytest.raises(PlanError, match=r"vision\.encoder\.dim is 32, but config\.json of .* states 16; leave vision"):
        compose("vita_1_5/tiny", [*overrides, "vision.encoder.dim=32"])
    settle = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**settle, "model_type": "vit"}))
    with pytest.raises(PlanError, match=r"vision\.encoder\.weights: .* has model_type 'vit', but hf_vision"):
        compose("vita_1_5/tiny", overrides)


def test_another_size_ignores_an_edge_below_it(tmp_path: Path) -> None:
    folder = saved(tower("dinov2"), tmp_path, size={"shortest_edge": 30}, crop_size=24, do_center_crop=True)
    specs = [HfVision(weights=folder, size=size).image_spec for size in (24, 16, 48)]
    assert [(spec.size, spec.edge) for spec in specs] == [(24, 30), (16, 30), (48, None)]


def test_convolutions_behind_sams_neck_equal_deepseek_vls(tmp_path: Path) -> None:
    from transformers.models.deepseek_vl_hybrid.modeling_deepseek_vl_hybrid import DeepseekVLSamVisionProj

    model = tower("sam")
    config = HfVision(weights=saved(model, tmp_path), convolutions=(8, 16), convolution_side=8)
    encoder, behind = config.build(), DeepseekVLSamVisionProj(model.config, output_size=2)
    behind.load_state_dict({f"conv{index + 1}.weight": layer.weight for index, layer in enumerate(encoder.convolutions)})
    images = pixels(config.tower.size)
    with torch.no_grad():
        expected = behind(theirs(model, "sam", images).last_hidden_state)
    found = ours(encoder, images)
    assert torch.equal(found, expected.flatten(2).transpose(1, 2))
    assert found.shape[1:] == (config.output.count, config.output.dim) == (4, 16)
    assert sum(weight.numel() for weight in encoder.parameters()) == config.footprint().parameters


@pytest.mark.parametrize(("fields", "sentence"), [
    ({"family": "clip", "convolutions": (8,)}, "only towers of family sam have them, and this one is clip"),
    ({"family": "sam", "convolutions": (8,), "final_norm": False}, r"convolutions is \[8\], but must be widths of at least 1"),
    ({"family": "sam", "convolution_side": 8}, "convolution_side is 8, but must be at least 1, and convolutions behind it"),
])
def test_convolutions_that_do_not_fit_are_refused(fields: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        HfVision(**fields)
