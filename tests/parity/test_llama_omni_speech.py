"""LLaMA-Omni's language model, unit head and vocoder replay what the original code gave (goldens/README.md of the data)."""

import json
from pathlib import Path

import pytest
import torch
from omnikit_hf.config import HF
from omnikit_hf.model import HFBackbone
from omnikit_llama_omni.config import CTCUnits, UnitHiFiGAN
from omnikit_llama_omni.model import CTCUnitHead, collapse, upsample
from omnikit_llama_omni.vocoder import UnitVocoder
from safetensors.torch import load_file
from torch import Tensor

from omnikit.types import Features, Targets

GOLDENS = Path(__file__).parent / "goldens"
OMNI, VOCODER = GOLDENS / "llama_omni_full", GOLDENS / "unit_hifigan"


def tensors(case: Path, name: str) -> dict[str, Tensor]:
    return {k: v.float() if v.is_floating_point() else v for k, v in load_file(case / f"{name}.safetensors").items()}


@pytest.fixture(scope="module")
def outputs() -> dict[str, Tensor]:
    return tensors(OMNI, "outputs")


@pytest.fixture(scope="module")
def head() -> CTCUnitHead:
    config = CTCUnits(dim=48, layers=2, heads=4, ffn=96, factor=25, rope_theta=500000.0)
    module = CTCUnitHead(config, source=64, units=60).eval()
    weights = tensors(OMNI, "weights")
    module.load_state_dict({k.removeprefix("speech_generator."): v for k, v in weights.items()
                            if k.startswith("speech_generator.")})
    return module


@pytest.fixture(scope="module")
def backbone() -> HFBackbone:
    config = HF(model_type="llama", dim=64, layers=2, heads=4, kv_heads=2, ffn=128, vocabulary=600, rope_theta=500000.0)
    module = HFBackbone(config).eval()
    names = ("model.embed_tokens", "model.layers", "model.norm", "lm_head")
    module.load_state_dict({k: v for k, v in tensors(OMNI, "weights").items() if k.startswith(names)})
    return module


def states(outputs: dict[str, Tensor]) -> Features:
    return Features(outputs["d_hidden_states_for_units"][None], torch.tensor([12]))


def test_backbone_gives_the_originals_hidden_states_and_logits(backbone: HFBackbone, outputs: dict[str, Tensor]) -> None:
    with torch.no_grad():
        hidden = backbone(outputs["b_inputs_embeds"], torch.ones(1, 19, dtype=torch.bool))
        logits = backbone.logits(hidden)
    torch.testing.assert_close(hidden, outputs["b_last_hidden_state"], atol=1e-4, rtol=0)  # case.json
    torch.testing.assert_close(logits, outputs["b_logits"], atol=2e-4, rtol=0)  # case.json


def test_stepping_gives_the_originals_ids_and_predicting_states(backbone: HFBackbone, outputs: dict[str, Tensor]) -> None:
    expected, mask = outputs["c_generated_ids"][0], torch.ones(1, 19, dtype=torch.bool)
    with torch.no_grad():
        hidden, state = backbone.step(outputs["b_inputs_embeds"], mask, backbone.init_state(1))
        seen, ids = [hidden[0, -1]], [backbone.logits(hidden[:, -1]).argmax(-1)]
        for _ in range(len(expected) - 1):
            mask = torch.cat([mask, mask[:, :1]], 1)
            hidden, state = backbone.step(backbone.embed(ids[-1][None]), mask, state)
            seen.append(hidden[0, -1])
            ids.append(backbone.logits(hidden[:, -1]).argmax(-1))
    assert torch.cat(ids).tolist() == expected.tolist()
    torch.testing.assert_close(torch.stack(seen), outputs["d_hidden_states_for_units"], atol=1e-4, rtol=0)  # case.json


def test_states_are_copied_as_in_the_original(outputs: dict[str, Tensor]) -> None:
    copied, _ = upsample(states(outputs).data, torch.tensor([12]), torch.tensor([300]), 300)
    assert torch.equal(copied[0], outputs["d_upsampled_input"])


def test_unit_logits_equal_the_originals(head: CTCUnitHead, outputs: dict[str, Tensor]) -> None:
    with torch.no_grad():
        logits = head(states(outputs).data, torch.tensor([12]), torch.tensor([300]), 300)[0]
    torch.testing.assert_close(logits, outputs["d_ctc_logits"], atol=5e-3, rtol=0)  # case.json: sharpened attention
    assert torch.equal(logits.argmax(-1), outputs["d_ctc_argmax"][0])


def test_decoded_units_equal_the_originals(head: CTCUnitHead, outputs: dict[str, Tensor]) -> None:
    with torch.no_grad():
        assert head.decode(states(outputs)) == [outputs["d_units"].tolist()]
    assert collapse(outputs["d_ctc_argmax"][0], 60) == outputs["d_units"].tolist()


def test_units_stopped_by_an_eos_equal_the_originals(head: CTCUnitHead, outputs: dict[str, Tensor]) -> None:
    with_eos = json.loads((OMNI / "outputs.json").read_text())["with_eos"]
    short = Features(states(outputs).data, torch.tensor([len(with_eos["generated_ids"])]))
    with torch.no_grad():
        assert head.decode(short) == [with_eos["units"]]


def test_ctc_loss_equals_the_originals(head: CTCUnitHead, outputs: dict[str, Tensor]) -> None:
    ids = tensors(OMNI, "inputs")["train_tgt_units"]
    features = Features(outputs["f_upsampled_inputs"][:, ::25], torch.tensor([5, 3]))
    with torch.no_grad():
        logits = head(features.data, features.lengths, torch.tensor([125, 75]), 125)
        loss = head.loss(features, Targets(ids, (ids >= 0).sum(-1)))
    torch.testing.assert_close(logits[0], outputs["f_ctc_logits"][0], atol=5e-3, rtol=0)  # case.json
    torch.testing.assert_close(logits[1, :75], outputs["f_ctc_logits"][1, :75], atol=5e-3, rtol=0)  # case.json
    torch.testing.assert_close(loss, outputs["f_stage2_ctc_loss"], rtol=1e-3, atol=0)  # case.json


@pytest.fixture(scope="module", params=["legacy", "parametrized"])
def vocoder(request: pytest.FixtureRequest) -> UnitVocoder:
    module = UnitVocoder(UnitHiFiGAN(units=60, dim=16, channels=32, duration_dim=24)).eval()
    renamed = {"legacy": {}, "parametrized": {"weight_g": "parametrizations.weight.original0",
                                              "weight_v": "parametrizations.weight.original1"}}[request.param]
    weights = tensors(VOCODER, "weights")
    for old, new in renamed.items():
        weights = {k.replace(old, new): v for k, v in weights.items()}
    module.load_state_dict(weights)
    return module


@pytest.mark.parametrize("index", [0, 1])
def test_vocoder_speaks_as_the_original(vocoder: UnitVocoder, index: int) -> None:
    codes, expected = tensors(VOCODER, "inputs")[f"seq{index}_code"][0], tensors(VOCODER, "outputs")
    wave = vocoder.decode(codes)
    torch.testing.assert_close(wave, expected[f"seq{index}_wav_dur"], atol=2e-5, rtol=0)  # case.json


@pytest.mark.parametrize("index", [0, 1])
def test_durations_equal_the_originals(vocoder: UnitVocoder, index: int) -> None:
    codes, expected = tensors(VOCODER, "inputs")[f"seq{index}_code"][0], tensors(VOCODER, "outputs")
    with torch.no_grad():
        assert vocoder.durations(codes[codes >= 0]).tolist() == expected[f"seq{index}_duration"][0].tolist()


@pytest.mark.parametrize("index", [0, 1])
def test_vocoder_without_durations_speaks_as_the_original(vocoder: UnitVocoder, index: int) -> None:
    codes, expected = tensors(VOCODER, "inputs")[f"seq{index}_code"][0], tensors(VOCODER, "outputs")
    with torch.no_grad():
        wave = vocoder.generate(codes[codes >= 0])
    torch.testing.assert_close(wave, expected[f"seq{index}_wav_nodur"], atol=2e-5, rtol=0)  # case.json


def test_vocoder_of_several_rows_speaks_as_of_each_alone(vocoder: UnitVocoder) -> None:
    codes = torch.tensor([[3, 14, 15, 9], [2, 6, 5, 35]])
    with torch.no_grad():
        together, alone = vocoder.generate(codes), torch.stack([vocoder.generate(row) for row in codes])
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=0)  # float32 sums in another order
