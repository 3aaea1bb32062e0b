"""Codec `ticodec`: sizes, files, what it learns from, and what it refuses. The original's numbers: tests/parity."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
import yaml
from omnikit_vita import ticodec_files
from omnikit_vita.ticodec import TiCodec
from omnikit_vita.ticodec_model import TiCodecModel
from omnikit_vita.ticodec_quantizer import Codebook, Losses

from omnikit.contracts.configs import CodecConfig
from omnikit.errors import ConfigError, DataError, RunError
from omnikit.recipe.schema import construct
from omnikit.store.tensors import in_memory

CONF = Path(__file__).parents[1] / "omnikit_vita" / "conf" / "codec"
SMALL = TiCodec(codes=16, dim=32, channels=32, rates=(4, 3), kernels=(8, 5), block_kernels=(3, 5),
                block_dilations=((1, 2), (1,)), encoder_channels=8, global_dim=16, global_groups=2, global_codes=8,
                global_hidden=4, sample_rate=1200, segment=8)


def build(config: TiCodec = SMALL, seed: int = 2) -> TiCodecModel:
    torch.manual_seed(seed)
    module = TiCodecModel(config).eval()
    for book in module.modules():
        if isinstance(book, Codebook):
            torch.nn.init.normal_(book.embedding.weight)
    return module


def waves(rows: int = 4, samples: int = 96) -> torch.Tensor:
    return 0.5 * torch.randn(rows, samples, generator=torch.Generator().manual_seed(3))


def test_defaults_have_the_published_sizes() -> None:
    with torch.device("meta"):
        module = TiCodec().build()
    weights = module.state_dict()
    count = sum(tensor.numel() for name, tensor in weights.items() if "num_batches" not in name and name != "voice")
    assert str(TiCodec().spec) == "24000 Hz, 40 frames/s, 1 x 1024 codes"
    assert weights["quantizer.quantizer_modules.0.embedding.weight"].shape == (1024, 512)
    # 253,718,273 bytes of the published final.pt, which also holds the unused linear layer and the names
    assert 0 <= 253_718_273 - 4 * (count + 128 * 129) < 500_000


@pytest.mark.parametrize(("preset", "spec"), [
    ("ticodec_tiny_random", "16000 Hz, 50 frames/s, 1 x 256 codes"),
    ("ticodec_tiny_24khz_random", "24000 Hz, 40 frames/s, 1 x 1024 codes"),
])
def test_tiny_preset_encodes_and_speaks_with_its_voice(preset: str, spec: str) -> None:
    values = yaml.safe_load((CONF / f"{preset}.yaml").read_text())
    config = construct(TiCodec, {k: v for k, v in values.items() if k != "use"}, "tiny", errors := [])
    assert config and not errors and isinstance(config, CodecConfig)
    assert str(config.spec) == spec
    assert config.global_dim in [config.channels // 2 ** step for step in range(1, len(config.rates) + 1)]


@pytest.mark.parametrize("samples", [0, 11, 12, 30, 96])
def test_codes_are_whole_frames_and_a_wave_is_whole_codes(samples: int) -> None:
    module = build()
    codes = module.encode(waves(1, samples)[0])
    assert codes.shape == (samples // 12, 1) and codes.dtype == torch.int64
    assert module.decode(codes).shape == (samples // 12 * 12,)


def test_mel_codec_gives_as_many_codes() -> None:
    config = replace(SMALL, mel_bands=8, mel_hop=6, encoder_rates=(2, 1), encoder_kernels=(4, 3))
    assert build(config).encode(waves(1, 100)[0]).shape == (8, 1)


def test_mel_of_a_tone_is_highest_in_its_band() -> None:
    config = replace(SMALL, sample_rate=16000, mel_bands=40, mel_hop=6, encoder_rates=(2, 1), encoder_kernels=(4, 3))
    tone = torch.sin(2 * torch.pi * 2000 * torch.arange(960) / 16000)
    module = build(replace(config, mel_hop=160, rates=(20, 16), kernels=(20, 16))).encoder.mel
    assert module is not None
    top = 2595 * torch.log10(torch.tensor(1 + 8000 / 700))
    wanted = round(float(2595 * torch.log10(torch.tensor(1 + 2000 / 700)) / top) * 41) - 1  # of 40 centres
    assert module(tone[None]).mean(-1).argmax() == wanted


def test_groups_and_levels_are_codebooks() -> None:
    module = build(replace(SMALL, groups=2, levels=2, paired=False))
    codes = module.encode(waves(1)[0])
    assert codes.shape == (8, 4) and module.config.spec.codebooks == 4
    assert module.decode(codes).shape == (96,)
    assert {name.split(".")[1] for name in module.state_dict() if name.startswith("quantizer")} == {
        "quantizer_modules", "quantizer_modules2", "quantizer_modules_globaltokens"}


def test_second_level_codes_what_the_first_left_over() -> None:
    module = build(replace(SMALL, levels=2))
    frames = torch.randn(1, 32, 5, generator=torch.Generator().manual_seed(1))
    coded, codes = module.quantizer.frames(frames, Losses())
    torch.testing.assert_close(coded, module.quantizer.embed_frames(codes), atol=1e-6, rtol=0)
    first = module.quantizer.quantizer_modules[0].embedding(codes[..., 0])
    second = module.quantizer.quantizer_modules2[0]
    left = frames.transpose(1, 2) - first
    assert torch.equal(codes[..., 1], torch.cdist(left, second.embedding.weight[None]).argmin(-1))


def test_every_level_moves_the_frames() -> None:
    module = build(replace(SMALL, levels=2))
    frames = torch.randn(1, 32, 5, generator=torch.Generator().manual_seed(1)).requires_grad_()
    coded, _ = module.quantizer.frames(frames, losses := Losses())
    [through] = torch.autograd.grad(coded.sum(), frames, retain_graph=True)
    [moved] = torch.autograd.grad(losses.commitment[1], frames)
    assert torch.equal(through, torch.ones_like(frames)) and moved.abs().min() > 0


def test_nearest_code_is_the_same_in_half_precision() -> None:
    book = Codebook(64, 8, decay=0.0)
    book.embedding.weight.data = 1 + 0.05 * torch.randn(64, 8, generator=torch.Generator().manual_seed(1))
    vectors = book.embedding.weight.data + 1e-4
    with torch.autocast("cpu", torch.bfloat16):
        assert book.nearest(vectors).tolist() == list(range(64))


def test_voice_changes_the_waveform_and_not_the_codes() -> None:
    module = build()
    codes = torch.tensor([[3], [1], [7]])
    first = module.decode(codes)
    module.voice.copy_(torch.tensor([5, 2]))
    assert (module.decode(codes) - first).abs().max() > 1e-3


def test_voice_of_a_waveform_is_what_its_vector_is_nearest_to() -> None:
    module, wave = build(), waves(1)[0]
    vector = module.encoder(wave[None])[1][0].chunk(2)
    books = module.quantizer.quantizer_modules_globaltokens
    wanted = [int((book.embedding.weight - part).square().sum(1).argmin()) for book, part in zip(books, vector, strict=True)]
    assert module.voice_tokens(wave).tolist() == wanted


# ---- learning ----


def test_reconstruction_teaches_every_part() -> None:
    module = build().train()
    found = module.reconstruct(waves())
    assert found.waves.shape == (4, 96) and found.codes is not None and found.codes.shape == (4, 8, 1)
    (found.waves.square().mean() + found.losses["codebook"] + found.losses["commitment"]).backward()
    assert not [name for name, weight in module.named_parameters() if weight.grad is None]


def test_losses_are_the_distances_to_the_codes() -> None:
    module = build()
    frames, voice = module.encoder(waves())
    found = module.reconstruct(waves())
    coded, voiced = module.quantizer.frames(frames, Losses())[0], module.quantizer.voice(voice, Losses())[0]
    wanted = (frames - coded).square().mean() + (voice - voiced).square().mean()
    torch.testing.assert_close(found.losses["commitment"], wanted)
    torch.testing.assert_close(found.losses["codebook"], wanted)


def test_without_quantising_nothing_is_coded() -> None:
    module = build()
    found = module.reconstruct(waves(), quantise=False)
    assert found.codes is None and found.losses == {}
    frames, voice = module.encoder(waves())
    torch.testing.assert_close(found.waves, module.generator(frames, voice))


def test_averaged_codes_become_the_means_of_what_they_stand_for() -> None:
    book = Codebook(2, 1, decay=0.5).train()
    book.embedding.weight.data.copy_(torch.tensor([[0.0], [10.0]]))
    for _ in range(30):
        _, codes = book(torch.tensor([[1.0], [2.0], [8.0]]), losses := Losses())
    torch.testing.assert_close(book.embedding.weight.data, torch.tensor([[1.5], [8.0]]))
    assert codes.tolist() == [0, 0, 1] and losses.codebook == []


def test_unused_codes_come_back_where_vectors_are() -> None:
    book = Codebook(4, 1, decay=0.0).train()
    book.embedding.weight.data.copy_(torch.tensor([[0.0], [90.0], [91.0], [92.0]]))
    book(torch.tensor([[1.0], [2.0], [5.0]]).repeat(14, 1), Losses())
    assert book.revive(torch.Generator().manual_seed(0)) == 3
    assert book.embedding.weight[0] == 0 and set(book.embedding.weight[1:, 0].tolist()) <= {1.0, 2.0, 5.0}
    assert len(set(book.embedding.weight[1:, 0].tolist())) == 3


def test_first_codes_after_a_start_without_any_are_clusters() -> None:
    module = build(replace(SMALL, codes=4)).train()
    for _ in range(3):
        module.reconstruct(waves(), quantise=False)
    assert module.usage() == {"codes": 0.0, "voice": 0.0}
    assert module.revive(torch.Generator().manual_seed(0)) == 4 + 2 * 8
    module.reconstruct(waves())
    assert module.usage()["codes"] == 1.0


def test_what_is_counted_is_in_no_file() -> None:
    module = build().train()
    names = set(module.state_dict())
    module.reconstruct(waves())
    assert set(module.state_dict()) == names and not [name for name in names if "drawn" in name or "recent" in name]


def test_voice_is_the_mean_of_those_trained_on_unless_one_is_set() -> None:
    free, fixed = build().train(), build(replace(SMALL, voice=(1, 2))).train()
    for module in (free, fixed):
        module.reconstruct(waves())
    books = free.quantizer.quantizer_modules_globaltokens
    parts = free.encoder(waves())[1].mean(0).chunk(2)
    assert free.voice.tolist() == [int(book.nearest(part)) for book, part in zip(books, parts, strict=True)]
    assert fixed.voice.tolist() == [1, 2]
    assert "voice" in free.state_dict() and "voice" not in fixed.state_dict()


# ---- files ----


def test_published_folder_gives_the_same_codec_back(tmp_path: Path) -> None:
    module = build(replace(SMALL, voice=(3, 1), levels=2))
    tensors = {name: in_memory(name, tmp_path, tensor) for name, tensor in module.state_dict().items()}
    ticodec_files.write(module.config, tensors, tmp_path / "codec")
    found, unused = ticodec_files.stored(tmp_path / "codec")
    values = ticodec_files.settings(tmp_path / "codec", found)
    again = TiCodecModel(TiCodec(**{**values, "segment": 8, "weights": str(tmp_path / "codec")})).eval()
    assert replace(again.config, weights=None) == module.config
    assert all(torch.equal(tensor, again.state_dict()[name]) for name, tensor in module.state_dict().items())
    assert [tensor.name for tensor in unused] == ["encoder.linear.0.weight", "encoder.linear.0.bias"]
    names = torch.load(tmp_path / "codec" / "final.pt", weights_only=True)["generator"]
    assert {"ups.0.weight_g", "ups.0.weight_v", "ups.0.bias", "resblocks.3.convs2.0.bias"} <= set(names)


def test_published_weights_bring_their_voice(tmp_path: Path) -> None:
    module = build(replace(SMALL, voice=(3, 1)))
    ticodec_files.write(module.config, {n: in_memory(n, tmp_path, t) for n, t in module.state_dict().items()}, tmp_path)
    for weights in (tmp_path, tmp_path / "final.pt"):
        assert build(replace(SMALL, weights=str(weights))).voice.tolist() == [3, 1]
    assert build(replace(SMALL, weights=str(tmp_path), voice=(2, 2))).voice.tolist() == [2, 2]
    (tmp_path / "model.json").write_text('{"global_tokens": [3, 8]}')
    with pytest.raises(ConfigError, match=r"global_tokens beside .* are no voice of this codec: .* its tokens must be 0 to 7"):
        build(replace(SMALL, weights=str(tmp_path)))
    (tmp_path / "model.json").unlink()
    assert build(replace(SMALL, weights=str(tmp_path))).voice.tolist() == [0, 0]


def test_mel_codec_has_no_published_form(tmp_path: Path) -> None:
    config = replace(SMALL, mel_bands=8, mel_hop=6, encoder_rates=(2, 1), encoder_kernels=(4, 3))
    with pytest.raises(RunError, match="takes mel or has an encoder unlike its generator"):
        ticodec_files.write(config, {}, tmp_path)


def test_other_files_are_refused(tmp_path: Path) -> None:
    torch.save({"model": {}}, tmp_path / "final.pt")
    with pytest.raises(ConfigError, match="must hold the mappings generator, quantizer, encoder"):
        build(replace(SMALL, weights=str(tmp_path)))
    module = build()
    ticodec_files.write(SMALL, {n: in_memory(n, tmp_path, t) for n, t in module.state_dict().items()}, tmp_path / "codec")
    with pytest.raises(ConfigError, match=r"do not fit codec ticodec: .*; give the codec the sizes"):
        build(replace(SMALL, codes=8, weights=str(tmp_path / "codec")))


def test_settings_without_a_key_are_refused(tmp_path: Path) -> None:
    module = build()
    ticodec_files.write(SMALL, {n: in_memory(n, tmp_path, t) for n, t in module.state_dict().items()}, tmp_path)
    (tmp_path / "model.json").write_text("{}")
    with pytest.raises(RunError, match=r"not a complete codec folder: model\.json or final\.pt lacks 'resblock_kernel_sizes'"):
        ticodec_files.settings(tmp_path, ticodec_files.stored(tmp_path)[0])


# ---- what it refuses ----


@pytest.mark.parametrize(("change", "sentence"), [
    ({"codes": 0}, "codes is 0, but must be at least 1"),
    ({"decay": 1.0}, "decay is 1, but must be at least 0 and below 1"),
    ({"groups": 3}, "each must be a multiple of its groups"),
    ({"kernels": (8, 4)}, "kernels has 4 where rates has 3, but a kernel must be at least its rate"),
    ({"kernels": (8,)}, "rates has 2 values and kernels 1"),
    ({"block_kernels": (3,)}, "block_kernels has 1 values and block_dilations 2"),
    ({"block_kernels": (3, 4)}, "both must be odd"),
    ({"mel_bands": 8, "mel_hop": 5}, r"the encoder gives a frame for 60 samples .*mel_hop 5.* makes 12 of one"),
    ({"global_dim": 64}, r"global_dim is 64, but the encoder's steps have the sizes \[16, 32\]"),
    ({"encoder_channels": 21, "global_dim": 42}, "a step of width 84 cannot be normed in 5 equal groups"),
    ({"voice": (1,)}, "voice has 1 tokens, but must have one for each of 2"),
    ({"voice": (1, 8)}, "its tokens must be 0 to 7"),
    ({"channels": 6}, "must be a multiple of 4 to be halved"),
    ({"discriminator_dim": 6}, "must be a multiple of 4"),
], ids=lambda value: "" if isinstance(value, str) else " ".join(value))
def test_impossible_sizes_are_refused(change: dict[str, object], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        replace(SMALL, **change)


def test_codes_of_another_codec_are_refused() -> None:
    module = build()
    with pytest.raises(DataError, match="code 16 cannot be spoken: codec ticodec has codes 0 to 15"):
        module.decode(torch.tensor([[1], [16]]))
    with pytest.raises(DataError, match="code -1 cannot be spoken"):
        module.decode(torch.tensor([[-1], [3]]))
    with pytest.raises(DataError, match="have 2 codebooks, but codec ticodec has 1"):
        module.decode(torch.tensor([[1, 2]]))


def test_a_moment_has_no_voice() -> None:
    with pytest.raises(DataError, match="has 11 samples, but a voice needs at least 12 at 1200 Hz"):
        build().voice_tokens(waves(1, 11)[0])


def test_a_batch_of_one_teaches_no_voice() -> None:
    with pytest.raises(DataError, match="take a batch_size of at least 2"):
        build().train().reconstruct(waves(1))


def test_it_is_built_on_the_meta_device_after_transformers_loaded_a_model_there() -> None:
    """transformers replaces torch.linspace meanwhile, and torch then remembers the replacement as the constructor."""
    from torch.utils import _device
    from transformers.initialization import meta_device_safe_creation_ops

    _device._device_constructors.cache_clear()
    try:
        with meta_device_safe_creation_ops(), torch.device("meta"):
            torch.empty(1)
        with torch.device("meta"):
            model = TiCodecModel(replace(SMALL, mel_bands=8, mel_hop=6, encoder_rates=(2, 1), encoder_kernels=(4, 3)))
    finally:
        _device._device_constructors.cache_clear()
    assert {weight.device.type for weight in model.parameters()} == {"meta"}
