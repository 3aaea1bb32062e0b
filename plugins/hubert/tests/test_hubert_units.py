"""Codec `hubert_units` against transformers' HubertModel and a plain search; its files, its edges, its fit."""

from pathlib import Path

import numpy as np
import pytest
import torch
from omnikit_hubert.config import HubertUnits
from omnikit_hubert.model import HubertUnitCodec
from safetensors.torch import save_file
from torch import Generator, Tensor
from transformers.models.hubert.configuration_hubert import HubertConfig
from transformers.models.hubert.modeling_hubert import HubertModel

from omnikit.contracts.configs import CodecConfig
from omnikit.errors import ConfigError, DataError, RunError

UNITS, DIM = 12, 32


def original(folder: Path, **changes: object) -> HubertModel:
    """Write a HuBERT with sizes of the defaults as transformers writes it."""
    torch.manual_seed(3)
    sizes = {"hidden_size": DIM, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64,
             "conv_dim": (32,) * 7, "num_conv_pos_embeddings": 16, "num_conv_pos_embedding_groups": 4, **changes}
    model = HubertModel(HubertConfig(**sizes)).eval()
    model.save_pretrained(folder)
    return model


def noise(samples: int, seed: int = 0) -> Tensor:
    return torch.randn(samples, generator=Generator().manual_seed(seed)).clamp(-3, 3) / 4 + 0.05


def searched(rows: np.ndarray, centroids: np.ndarray) -> list[int]:
    """Give the nearest centroid of each row by the plain sum of squares."""
    return ((rows[:, None].astype(np.float64) - centroids[None]) ** 2).sum(2).argmin(1).tolist()


def merged(labels: list[int]) -> list[int]:
    return [label for index, label in enumerate(labels) if not index or label != labels[index - 1]]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, HubertModel, np.ndarray]:
    """A checkpoint folder with centroids beside it: frames of some noise, so that every unit is near something."""
    folder = tmp_path_factory.mktemp("hubert")
    model = original(folder)
    with torch.no_grad():
        states = model(noise(32000, 9)[None], output_hidden_states=True).hidden_states[1][0]
    centroids = states[::8][:UNITS].numpy()
    np.save(folder / "centroids.npy", centroids)
    return folder, model, centroids


def config(folder: Path, **changes: object) -> HubertUnits:
    values = {"units": UNITS, "layer": 1, "weights": str(folder), "centroids": str(folder / "centroids.npy"), **changes}
    return HubertUnits(**values)  # type: ignore[arg-type]  # names and values of fields


@pytest.mark.parametrize("samples", [400, 719, 16000, 23456])
def test_units_equal_transformers_and_a_plain_search(files: tuple[Path, HubertModel, np.ndarray], samples: int) -> None:
    folder, model, centroids = files
    codec, wave = config(folder).build(), noise(samples)
    with torch.no_grad():
        states = model(wave[None], output_hidden_states=True).hidden_states[1][0].numpy()
    expected = searched(states, centroids)
    assert codec.label(wave).tolist() == [[unit] for unit in expected]
    assert codec.encode(wave).tolist() == [[unit] for unit in merged(expected)]
    assert len(expected) == config(folder).length(samples) == (samples - 400) // 320 + 1


def test_layer_n_is_the_output_of_the_nth_transformer_layer(files: tuple[Path, HubertModel, np.ndarray]) -> None:
    folder, model, _ = files
    wave = noise(4000)
    with torch.no_grad():
        features = model.feature_projection(model.feature_extractor(wave[None]).transpose(1, 2))
        entering = model.encoder.layer_norm(features + model.encoder.pos_conv_embed(features))
        leaving = model.encoder.layers[0](entering)
    for layer, expected in ((0, entering), (1, leaving)):
        found = config(folder, layer=layer).build().features(wave)
        torch.testing.assert_close(found, expected[0], atol=1e-5, rtol=1e-5)  # float32 noise


def test_normalize_brings_the_whole_wave_to_mean_0_and_variance_1(files: tuple[Path, HubertModel, np.ndarray]) -> None:
    folder, model, _ = files
    wave = noise(8000) * 0.1
    scaled = (wave - wave.mean()) / (wave.var(correction=0) + 1e-5).sqrt()
    with torch.no_grad():
        expected = model(scaled[None], output_hidden_states=True).hidden_states[1][0]
    torch.testing.assert_close(config(folder, normalize=True).build().features(wave), expected, atol=1e-4, rtol=1e-4)


def test_long_wave_is_looked_at_in_chunks(files: tuple[Path, HubertModel, np.ndarray]) -> None:
    folder, model, centroids = files
    codec, wave = config(folder, chunk=6400).build(), noise(6400 * 2 + 3000)
    with torch.no_grad():
        states = [model(part[None], output_hidden_states=True).hidden_states[1][0].numpy() for part in wave.split(6400)]
    assert codec.label(wave)[:, 0].tolist() == searched(np.concatenate(states), centroids)


@pytest.mark.parametrize("samples", [0, 1, 399])
def test_wave_shorter_than_a_frame_has_no_units(files: tuple[Path, HubertModel, np.ndarray], samples: int) -> None:
    assert config(files[0]).build().encode(noise(samples)).tolist() == []


def test_rest_shorter_than_a_frame_is_left_out(files: tuple[Path, HubertModel, np.ndarray]) -> None:
    codec, wave = config(files[0], chunk=6400).build(), noise(6400 + 399)
    assert codec.label(wave).tolist() == codec.label(wave[:6400]).tolist()


def test_training_mode_changes_no_unit(files: tuple[Path, HubertModel, np.ndarray]) -> None:
    codec, wave = config(files[0]).build(), noise(16000)
    expected = codec.encode(wave).tolist()
    codec.train()
    assert codec.encode(wave).tolist() == expected


def test_centroids_from_safetensors_are_the_same(files: tuple[Path, HubertModel, np.ndarray], tmp_path: Path) -> None:
    folder, _, centroids = files
    save_file({"centroids": torch.from_numpy(centroids).contiguous()}, tmp_path / "c.safetensors")
    codec = config(folder, centroids=str(tmp_path / "c.safetensors")).build()
    assert torch.equal(codec.centroids, torch.from_numpy(centroids))


def fitted(seed: int) -> tuple[HubertUnitCodec, dict[str, float], list[float]]:
    torch.manual_seed(5)
    codec, shares = HubertUnits(units=8, frames=200, iterations=50).build(), []
    waves = [noise(16000, i) * (1 + i) / 3 for i in range(6)]
    numbers = codec.fit(waves, Generator().manual_seed(seed), shares.append)
    return codec, numbers, shares


def test_fitted_centroids_are_means_of_their_frames_and_the_same_for_the_same_seed() -> None:
    codec, numbers, shares = fitted(1)
    assert numbers["units"] == 8
    assert shares == sorted(shares) and shares[-1] == pytest.approx(1.0)
    assert torch.equal(codec.centroids, fitted(1)[0].centroids)
    again = codec.features(noise(16000, 2))
    spread = (again - again.mean(0)).square().mean()
    assert numbers["distortion"] < spread  # clusters are tighter than one wave's frames around their mean


def test_saved_units_are_the_same_after_loading() -> None:
    codec, wave = fitted(1)[0], noise(20000, 7)
    torch.manual_seed(99)
    other = codec.config.build()
    other.load_state_dict(codec.state_dict())
    assert other.encode(wave).tolist() == codec.encode(wave).tolist()
    assert len(codec.encode(wave).unique()) > 1


def test_unfitted_codec_refuses() -> None:
    with pytest.raises(RunError, match="has no units yet, but is asked for some; run a stage with `objective: units`"):
        HubertUnits().build().encode(noise(1000))


def test_codec_does_not_speak() -> None:
    with pytest.raises(DataError, match="does not decode: put it beside a vocoder"):
        HubertUnits().build().decode(torch.tensor([1]))


def test_too_little_speech_to_fit_is_refused() -> None:
    with pytest.raises(DataError, match="has 1 frames of speech to fit, but needs at least 100, one for each unit"):
        HubertUnits().build().fit([noise(500)], Generator(), lambda share: None)


def test_plan_needs_no_stage_where_centroids_come_from_a_file() -> None:
    assert isinstance(HubertUnits(), CodecConfig)
    assert (HubertUnits().objectives, HubertUnits(centroids="c.npy").objectives) == (("units",), ())
    assert (HubertUnits().encodes, HubertUnits().decodes) == (True, False)
    assert str(HubertUnits(units=1000).spec) == "16000 Hz, 50 frames/s, 1 x 1000 codes, runs merged"


def test_mhubert_1000_has_the_sizes_of_hubert_base_up_to_the_layer_it_reads() -> None:
    from omnikit.recipe import presets

    chosen = presets.preset_fields("codec", "mhubert_1000")
    chosen.pop("use")
    with torch.device("meta"):
        codec = HubertUnits(**chosen).build()
        base = HubertModel(HubertConfig())  # transformers' defaults are the base model
    unread = ("encoder.layers.11.", "masked_spec_embed")  # the second in training only
    assert {name: tensor.shape for name, tensor in codec.hubert.state_dict().items()} == {
        name: tensor.shape for name, tensor in base.state_dict().items() if not name.startswith(unread)}
    assert codec.centroids.shape == (1000, 768)


@pytest.mark.parametrize("name", ["km.bin", "km.pkl", "km.joblib", "km"])
def test_pickles_are_refused_with_the_way_to_convert_them(name: str) -> None:
    with pytest.raises(ValueError, match=r"must be a \.npy or \.safetensors file, because reading a pickle or joblib file may"
                                         r" run code; where you trust it, convert it once with python -c .*cluster_centers_"):
        HubertUnits(centroids=name)


@pytest.mark.parametrize(("content", "text"), [
    (np.zeros((3, DIM), np.float32), r"holds \(3, 32\), but must hold one matrix \(12, 32\)"),
    (np.full((UNITS, DIM), np.nan, np.float32), "holds numbers that are not finite reals"),
    (np.zeros((UNITS, DIM), np.int64), "holds numbers that are not finite reals"),
    (np.array([{"a": 1}], dtype=object), "cannot be read"),
], ids=["shape", "nan", "integers", "objects"])
def test_bad_centroids_are_refused(tmp_path: Path, content: np.ndarray, text: str) -> None:
    np.save(tmp_path / "c.npy", content, allow_pickle=True)
    with pytest.raises(ConfigError, match=text):
        HubertUnits(units=UNITS, centroids=str(tmp_path / "c.npy")).build()


@pytest.mark.parametrize("name", ["c.npy", "c.safetensors"])
def test_unreadable_centroids_are_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"nothing of the kind")
    with pytest.raises(ConfigError, match="cannot be read"):
        HubertUnits(centroids=str(tmp_path / name)).build()
    with pytest.raises(ConfigError, match="cannot be read"):
        HubertUnits(centroids=str(tmp_path / "missing" / name)).build()


def test_checkpoint_of_other_sizes_is_refused_with_all_of_them(files: tuple[Path, HubertModel, np.ndarray]) -> None:
    with pytest.raises(ConfigError) as caught:
        HubertUnits(weights=str(files[0]), ffn=128, conv_dim=16).build()
    text = str(caught.value)
    assert "hubert_units.ffn gives 128" in text and "has 64" in text and "hubert_units.conv_dim" in text


def test_checkpoint_of_another_model_is_refused(tmp_path: Path) -> None:
    original(tmp_path)
    file = tmp_path / "config.json"
    file.write_text(file.read_text().replace('"hubert"', '"wav2vec2"'))
    with pytest.raises(ConfigError, match="holds a model of type 'wav2vec2', but must hold a 'hubert'"):
        HubertUnits(weights=str(tmp_path)).build()


def test_checkpoint_that_lacks_a_tensor_is_refused(tmp_path: Path) -> None:
    model = original(tmp_path)
    weights = {name: tensor for name, tensor in model.state_dict().items() if name != "encoder.layers.1.layer_norm.weight"}
    save_file(weights, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ConfigError, match=r"do not fit hubert_units: encoder\.layers\.1\.layer_norm\.weight is missing"):
        HubertUnits(weights=str(tmp_path)).build()


def test_folder_without_checkpoint_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"is not a folder with a config\.json"):
        HubertUnits(weights=str(tmp_path)).build()


@pytest.mark.parametrize(("field", "value", "text"), [
    ("units", 0, "units is 0, but must be at least 1"),
    ("layer", 3, r"layer is 3, but must be between 0 and layers \(2\)"),
    ("heads", 5, r"dim is 32, but must be a multiple of heads \(5\)"),
    ("strides", (5,), "both need one number of at least 1 for each convolution"),
    ("frames", 10, r"frames is 10, but must be at least units \(100\)"),
    ("chunk", 300, "chunk is 300, but must hold at least one frame"),
])
def test_impossible_value_is_refused(field: str, value: object, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        HubertUnits(**{field: value})  # type: ignore[arg-type]  # wrong on purpose
