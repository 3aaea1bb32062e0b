"""Towers by name: against open_clip itself on random weights, and models that have no patches to give."""

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import open_clip
import pytest
import torch
from omnikit_openclip.config import OpenClip
from omnikit_openclip.towers import known, tower
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor
from torch.testing import assert_close

from omnikit import registry
from omnikit.contracts.configs import EncoderConfig
from omnikit.contracts.types import Signal
from omnikit.data.media.image import cut_tiles as tiles_of
from omnikit.data.media.image import normalise
from omnikit.errors import RunError
from omnikit.recipe import presets

TINY = {
    "embed_dim": 8,
    "vision_cfg": {"image_size": 32, "layers": 3, "width": 16, "head_width": 8, "patch_size": 8},
    "text_cfg": {"context_length": 8, "vocab_size": 16, "width": 8, "heads": 1, "layers": 1},
}


def described(folder: Path, **vision: object) -> str:
    """Write the JSON of a small model and give its path."""
    path = folder / "small.json"
    path.write_text(json.dumps({**TINY, "vision_cfg": {**TINY["vision_cfg"], **vision}}))
    return str(path)


def original(model: str) -> torch.nn.Module:
    torch.manual_seed(0)
    open_clip.add_model_config(model)
    return open_clip.create_model(Path(model).stem, load_weights=False).eval()


def tiles(size: int = 32) -> Signal:
    return Signal(torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(0)), torch.ones(2, dtype=torch.int64))


def seen(model: torch.nn.Module, layer: int, pixels: Tensor) -> Tensor:
    """Give what open_clip's own forward lets out of a layer, class token dropped."""
    found: list[Tensor] = []
    hook = model.visual.transformer.resblocks[layer].register_forward_hook(lambda *call: found.append(call[2]))
    with torch.no_grad():
        model.encode_image(pixels)
    hook.remove()
    return found[0][:, 1:]


def saved(model: torch.nn.Module, file: Path, training: bool = False) -> str:
    """Write a checkpoint as published (safetensors), or as open_clip's trainer does."""
    state = {name: tensor.contiguous() for name, tensor in model.state_dict().items()}
    if training:
        torch.save({"epoch": 1, "state_dict": {f"module.{name}": tensor for name, tensor in state.items()}}, file)
    else:
        save_file(state, file)
    return str(file)


@pytest.mark.parametrize("layer", [-1, -2, 1], ids=str)
def test_vectors_of_a_layer_equal_those_inside_open_clip(tmp_path: Path, layer: int) -> None:
    model = original(described(tmp_path))
    weights = saved(model, tmp_path / "model.safetensors")
    encoder = OpenClip(described(tmp_path), weights, layer=layer).build().eval()
    out = encoder(tiles())
    assert_close(out.data, seen(model, layer - (layer > 0), tiles().data), atol=1e-6, rtol=1e-5)
    assert (out.lengths.tolist(), out.rate) == ([16, 16], None)


def test_normed_vectors_are_those_that_open_clip_pools(tmp_path: Path) -> None:
    model = original(described(tmp_path, pool_type="avg"))
    encoder = OpenClip(described(tmp_path, pool_type="avg"), saved(model, tmp_path / "epoch_1.pt", training=True), norm=True)
    pooled = encoder.build().eval()(tiles()).data.mean(dim=1) @ model.visual.proj
    assert_close(pooled, model.encode_image(tiles().data), atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("model", ["ViT-B-32", "ViT-L-14-336-quickgelu", "ViT-bigG-14", "ViT-L-14-CLIPA", "ViT-M-16-alt"])
def test_named_models_have_the_size_that_open_clip_gives_them(model: str) -> None:
    config = OpenClip(model)
    with torch.device("meta"):
        encoder = config.build()
    count = encoder.tower.positional_embedding.shape[0] - 1
    assert config.output.count == count == config.length(1)
    assert config.output.dim == encoder.tower.conv1.out_channels
    assert len(encoder.tower.transformer.resblocks) == config.tower.layers


def test_every_tower_of_open_clip_itself_is_known() -> None:
    own = {name for name, path in known().items() if isinstance(json.loads(path.read_text())["vision_cfg"].get("layers"), int)}
    coca = {name for name in own if "coca" in name}
    assert len(own - coca) > 40
    assert all(tower(name).width for name in own - coca)


def test_plan_imports_neither_torch_nor_open_clip() -> None:
    code = ("import sys; from omnikit_openclip.config import OpenClip; print(OpenClip('ViT-L-14').output); "
            "print({'torch', 'open_clip', 'timm', 'torchvision'} & set(sys.modules))")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["hidden size 1024, 256 positions", "set()"]


@pytest.mark.parametrize("shape", [(224, 224), (300, 400), (500, 231), (97, 61)], ids=str)
def test_images_are_prepared_as_open_clip_prepares_them(shape: tuple[int, int]) -> None:
    spec = OpenClip("ViT-B-32").image_spec
    image = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)
    theirs = open_clip.image_transform(224, is_train=False)(Image.fromarray(image))
    ours = torch.from_numpy(normalise(tiles_of(image, spec), spec))
    assert_close(ours, theirs[None], atol=1e-6, rtol=1e-6)  # float32: they divide by 255, subtract, divide


def test_other_colours_can_be_asked_for() -> None:
    spec = OpenClip(mean=(0.5, 0.5, 0.5)).image_spec
    assert (spec.mean, spec.deviation) == ((0.5, 0.5, 0.5), open_clip.OPENAI_DATASET_STD)


def test_folder_of_a_published_model_brings_its_colours(tmp_path: Path) -> None:
    inside = {"model_cfg": TINY, "preprocess_cfg": {"mean": [0.5, 0.4, 0.3], "std": [0.2, 0.2, 0.2], "resize_mode": "shortest"}}
    (tmp_path / "open_clip_config.json").write_text(json.dumps(inside))
    spec = OpenClip(str(tmp_path)).image_spec
    assert (spec.size, spec.mean, spec.deviation) == (32, (0.5, 0.4, 0.3), (0.2, 0.2, 0.2))


@pytest.mark.parametrize(("model", "words"), [
    ("ViT-B32", "which open_clip does not have. Did you mean 'ViT-B-32'?"),
    ("RN50", "whose tower is a ResNet, which has no patches; choose a ViT"),
    ("coca_ViT-B-32", "whose tower (CoCa) gives its captioner pooled queries"),
    ("ViT-B-16-SigLIP", "whose tower is timm's vit_base_patch16_siglip_224; only open_clip's own VisionTransformer"),
    ("nowhere.json", "nowhere.json cannot be read as JSON"),
])  # fmt: skip
def test_models_without_patches_are_refused_with_the_reason(model: str, words: str) -> None:
    with pytest.raises(ValueError, match=re.escape(words)):
        OpenClip(model)


@pytest.mark.parametrize(("vision", "words"), [
    ({"patch_dropout": 0.5}, "drops patches while training"),
    ({"image_size": [32, 64]}, "image_size is [32, 64], but tiles are squares"),
    ({"width": "wide"}, "vision_cfg.width is 'wide'"),
])  # fmt: skip
def test_settings_of_a_file_that_do_not_fit_are_named(tmp_path: Path, vision: dict[str, object], words: str) -> None:
    tower.cache_clear()
    with pytest.raises(ValueError, match=re.escape(words)):
        OpenClip(described(tmp_path, **vision))


def test_images_with_another_way_to_resize_are_refused(tmp_path: Path) -> None:
    inside = {"model_cfg": TINY, "preprocess_cfg": {"resize_mode": "squash"}}
    (tmp_path / "open_clip_config.json").write_text(json.dumps(inside))
    with pytest.raises(ValueError, match="preprocess_cfg has resize_mode 'squash', but images are prepared with 'shortest'"):
        OpenClip(str(tmp_path))


def test_layer_that_the_model_lacks_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"layer is 4, but must be from 1 to 3, or from -3 to -1"):
        OpenClip(described(tmp_path), layer=4)


def test_weights_of_another_model_are_refused(tmp_path: Path) -> None:
    weights = saved(original(described(tmp_path)), tmp_path / "model.safetensors")
    with pytest.raises(RunError, match=r"do not fit ViT-B-32: .* \(and \d+ more\); set openclip's field `model`"):
        OpenClip("ViT-B-32", weights).build()


@pytest.mark.parametrize(("content", "words"), [
    (None, "does not exist, but openclip's field `weights`"),
    (b"no pickle", "holds more than tensors"),
], ids=["missing", "broken"])  # fmt: skip
def test_unreadable_weights_are_one_sentence(tmp_path: Path, content: bytes | None, words: str) -> None:
    file = tmp_path / "weights.pt"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(RunError, match=re.escape(words)):
        OpenClip(described(tmp_path), str(file)).build()


def test_compiled_model_is_no_file_of_tensors(tmp_path: Path) -> None:
    """As openai published CLIP: code lies beside the numbers."""
    torch.jit.trace(torch.nn.Linear(2, 2), torch.ones(1, 2)).save(tmp_path / "compiled.pt")
    with pytest.raises(RunError, match=r"compiled\.pt is not a torch file or holds more than tensors, so reading it could run"):
        OpenClip(described(tmp_path), str(tmp_path / "compiled.pt")).build()


def test_every_parameter_learns(tmp_path: Path) -> None:
    torch.manual_seed(0)
    encoder = OpenClip(described(tmp_path), layer=-2).build().train()
    encoder(tiles()).data.square().mean().backward()
    assert [name for name, p in encoder.named_parameters() if p.grad is None or not p.grad.any()] == []


def test_registered_component_offers_its_role() -> None:
    assert isinstance(registry.component("encoder", "openclip")(), EncoderConfig)


@pytest.mark.parametrize("name", ["openclip_vit_b_32", "openclip_vit_l_14_336", "openclip_tiny_random"])
def test_presets_build(name: str) -> None:
    fields = {key: value for key, value in presets.preset_fields("encoder", name).items() if key != "use"}
    with torch.device("meta"):
        encoder = OpenClip(**fields).build()
    assert sum(p.numel() for p in encoder.parameters()) > 1e5
