"""Codec `unit_hifigan`: sizes, files, lengths, and what it refuses. The original's waves: tests/parity."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
import yaml
from omnikit_llama_omni.config import UnitHiFiGAN
from omnikit_llama_omni.vocoder import UnitVocoder
from safetensors.torch import save_file

from omnikit.contracts.configs import CodecConfig
from omnikit.errors import ConfigError, DataError, RunError

CONF = Path(__file__).parents[1] / "omnikit_llama_omni" / "conf" / "codec"
SMALL = UnitHiFiGAN(units=10, dim=4, channels=32, duration_dim=4)


def build(config: UnitHiFiGAN = SMALL) -> UnitVocoder:
    torch.manual_seed(2)
    module = config.build().eval()
    assert isinstance(module, UnitVocoder)
    return module


def legacy(name: str) -> str:  # the names of a published checkpoint
    return name.replace("parametrizations.weight.original0", "weight_g").replace("parametrizations.weight.original1",
                                                                                  "weight_v")


def test_public_size_has_the_checkpoints_tensors_and_parameters() -> None:
    values = yaml.safe_load((CONF / "unit_hifigan_1000.yaml").read_text())
    config = UnitHiFiGAN(**{k: v for k, v in values.items() if k != "use"})
    with torch.device("meta"):
        weights = config.build().state_dict()
    assert len(weights) == 302  # of g_00500000
    assert sum(w.numel() for w in weights.values()) == 13_485_443
    assert str(config.spec) == "16000 Hz, 50 frames/s, 1 x 1000 codes, runs merged"


def test_config_keeps_the_contract_of_a_codec_that_only_decodes() -> None:
    assert isinstance(SMALL, CodecConfig)
    assert (SMALL.encodes, SMALL.decodes, SMALL.objectives) == (False, True, ("vocoder",))


def test_wave_has_320_samples_for_each_frame() -> None:
    module, codes = build(), torch.tensor([[1], [5], [3]])
    assert module.decode(codes).shape == (320 * int(module.durations(codes[:, 0]).sum()),)
    assert module.generate(codes[None]).shape == (1, 960)


def test_durations_of_a_row_do_not_depend_on_its_padding() -> None:
    module, codes = build(), torch.tensor([[1, 5, 3], [4, 2, 0]])[..., None]
    mask = torch.tensor([[True, True, True], [True, True, False]])
    with torch.no_grad():
        both = module.log_durations(codes, mask)
        alone = module.log_durations(codes[1:, :2], mask[1:, :2])
    torch.testing.assert_close(both[1, :2], alone[0])


def test_a_loss_on_the_wave_reaches_every_weight_of_the_generator() -> None:
    module = build()
    module.generate(torch.tensor([[1, 5, 3], [4, 2, 0]])[..., None]).square().mean().backward()
    still = [name for name, weights in module.named_parameters() if weights.grad is None or not weights.grad.any()]
    assert all(name.startswith("dur_predictor") for name in still)


def test_several_rows_are_spoken_as_each_alone() -> None:
    module, codes = build(), torch.tensor([[3, 1, 5, 9], [2, 6, 5, 3]])[..., None]
    with torch.no_grad():
        together, alone = module.generate(codes), torch.cat([module.generate(row[None]) for row in codes])
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=0)  # float32 sums in another order


def test_without_durations_each_unit_is_one_frame() -> None:
    config = UnitHiFiGAN(units=10, dim=4, channels=32, duration_dim=None)
    assert not config.spec.merged
    module = config.build()
    assert not any(name.startswith("dur_predictor") for name in module.state_dict())
    assert module.decode(torch.tensor([[1], [5], [5]])).shape == (960,)


def test_negative_units_are_dropped_and_none_gives_silence() -> None:
    module = build()
    assert torch.equal(module.decode(torch.tensor([[-1], [4], [-1], [2]])), module.decode(torch.tensor([[4], [2]])))
    assert module.decode(torch.zeros(0, 1, dtype=torch.long)).shape == (0,)


def test_weight_norm_is_that_of_the_original() -> None:
    module = build()
    for conv in (module.conv_pre, module.ups[1], module.resblocks[0].convs1[0]):
        g, v = conv.parametrizations.weight.original0, conv.parametrizations.weight.original1
        g.data.uniform_(0.5, 2)
        assert g.shape == (v.shape[0], 1, 1)
        torch.testing.assert_close(conv.weight, g * v / v.square().sum((1, 2), keepdim=True).sqrt())


@pytest.mark.parametrize("kind", ["torch", "safetensors"])
def test_weights_load_from_a_file(kind: str, tmp_path: Path) -> None:
    source, path = build(), tmp_path / f"g.{kind}"
    weights = {legacy(k): v.contiguous() for k, v in source.state_dict().items()}
    if_torch = {"torch": lambda: torch.save({"generator": weights}, path), "safetensors": lambda: save_file(weights, path)}
    if_torch[kind]()
    torch.manual_seed(9)
    loaded = UnitHiFiGAN(units=10, dim=4, channels=32, duration_dim=4, weights=str(path)).build().eval()
    assert torch.equal(loaded.decode(torch.tensor([[1], [2]])), source.decode(torch.tensor([[1], [2]])))


def test_weights_of_another_size_are_refused(tmp_path: Path) -> None:
    save_file(build().state_dict(), tmp_path / "g.safetensors")
    with pytest.raises(ConfigError, match=r"^speech.codec.weights: .*weight has the shape \[10, 4\], .* \[11, 4\]; choose"):
        UnitHiFiGAN(units=11, dim=4, channels=32, duration_dim=4, weights=str(tmp_path / "g.safetensors")).build()


@pytest.mark.parametrize(("name", "text"), [
    ("g.safetensors", "is not a whole safetensors file"), ("g.pt", "is not a torch file")])
def test_broken_and_missing_files_are_refused(name: str, text: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=rf"^speech.codec.weights: .*{name} is missing; give the path of the file"):
        UnitHiFiGAN(weights=str(tmp_path / name)).build()
    (tmp_path / name).write_bytes(b"not a checkpoint")
    with pytest.raises(ConfigError, match=rf"^speech.codec.weights: .*{name} {text}"):
        UnitHiFiGAN(weights=str(tmp_path / name)).build()


def test_foreign_unit_and_encoding_are_refused() -> None:
    with pytest.raises(DataError, match="unit 10 cannot be spoken: codec unit_hifigan has units 0 to 9"):
        build().decode(torch.tensor([[3], [10]]))
    with pytest.raises(DataError, match=r"codes of shape \[2\] cannot be spoken: codec unit_hifigan has 1 codebook"):
        build().decode(torch.tensor([3, 5]))
    with pytest.raises(DataError, match="does not encode"):
        build().encode(torch.zeros(320))


@pytest.mark.parametrize(("fields", "text"), [
    ({"rates": (5, 4)}, "rates has 2 values and kernels 5"),
    ({"kernels": (10, 8, 8, 4, 4)}, "kernels has 10 for rate 5, but must exceed it by an even number"),
    ({"channels": 48}, "channels is 48, but must be a multiple of 32"),
    ({"block_kernels": (4,)}, "but must hold odd numbers"),
    ({"dilations": ()}, r"dilations is \(\)"),
    ({"block_dilations": ((1,), (2,))}, "block_dilations has 2 values and block_kernels 3"),
    ({"block_dilations": ((1,), (2,), ())}, "must hold numbers of at least 1"),
    ({"units": 0}, "units is 0, but must be at least 1"),
    ({"duration_dropout": 1.0}, "duration_dropout is 1.0, but must be at least 0 and below 1"),
    ({"segment": 0}, "segment is 0, but must be at least 1"),
    ({"discriminator_dim": 6}, "discriminator_dim is 6, but must be a multiple of 4"),
])
def test_impossible_value_is_refused(fields: dict[str, object], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        UnitHiFiGAN(**fields)  # type: ignore[arg-type]  # wrong on purpose


def test_a_wild_duration_predictor_is_refused() -> None:
    module = build()
    assert module.dur_predictor is not None
    module.dur_predictor.proj.bias.data.fill_(20.0)  # e^20 frames for every unit
    with pytest.raises(RunError, match="codec unit_hifigan predicts that a unit lasts"):
        module.decode(torch.tensor([[1], [5], [3]]))


# ---- several speakers ------------------------------------------------------------------------------------------------

SPEAKERS = replace(SMALL, speakers=3, speaker=1)


def test_a_speakers_embedding_is_concatenated_with_each_units() -> None:
    """As fairseq's CodeGenerator has it: one wave by its formula, from the checkpoint's tensors."""
    module, units = build(SPEAKERS), torch.tensor([[1, 5, 3]])
    state = module.state_dict()
    joined = torch.cat([state["dict.weight"][units], state["spkr.weight"][1].expand(1, 3, 4)], dim=2)  # [1, T, 2 D]
    with torch.no_grad():
        plain = build(replace(SMALL, dim=8, duration_dim=None))
        plain.load_state_dict({name: tensor for name, tensor in state.items() if name.split(".")[0] not in (
            "dict", "spkr", "dur_predictor")} | {"dict.weight": torch.cat([joined[0], torch.zeros(7, 8)])})
        torch.testing.assert_close(module.generate(units[..., None]), plain.generate(torch.arange(3)[None, :, None]))


def test_speakers_differ_and_take_the_same_time() -> None:
    module, codes = build(SPEAKERS), torch.tensor([[1], [5], [3]])
    first = module.decode(codes)
    module.config = replace(SPEAKERS, speaker=2)
    assert module.decode(codes).shape == first.shape and not torch.equal(module.decode(codes), first)


def test_several_speakers_stream_as_they_speak_at_once() -> None:
    module, codes = build(SPEAKERS), torch.tensor([[1], [5], [3], [7], [2]])
    state = module.init_state()
    pieces = [module.step(part, state, last=index == 2)[0] for index, part in enumerate(codes.split(2))]
    torch.testing.assert_close(torch.cat(pieces), module.decode(codes), atol=1e-5, rtol=1e-4)  # sums in another order


def test_footprint_counts_speakers() -> None:
    assert SPEAKERS.footprint().parameters == sum(p.numel() for p in build(SPEAKERS).parameters())


@pytest.mark.parametrize(("fields", "words"), [
    ({"speaker": 1}, "speaker is 1 of speakers 0, but the vocoder has one voice only"),
    ({"speakers": 3, "speaker": 3}, "speaker is 3 of speakers 3, but the vocoder has 0 to 2"),
    ({"speakers": -1}, "speaker is 0 of speakers -1"),
])
def test_a_speaker_that_is_not_there_is_a_sentence(fields: dict[str, int], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        UnitHiFiGAN(**fields)
