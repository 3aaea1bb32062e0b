"""Backbone `hf_encoder_decoder` equals transformers' T5 and BART: logits, gradients and greedy answers."""

from pathlib import Path

import pytest
import torch
from omnikit_hf.encoder_decoder import EncoderDecoderBackbone, facts
from omnikit_hf.encoder_decoder_config import HFEncoderDecoder
from torch import Tensor
from torch.testing import assert_close
from transformers import BartForConditionalGeneration, PreTrainedModel, T5ForConditionalGeneration

from omnikit.contracts.layout import InputLayout
from omnikit.errors import ConfigError, DataError

SIZES = {"dim": 32, "layers": 2, "decoder_layers": 2, "heads": 4, "head_dim": 8, "ffn": 48, "vocabulary": 60}
CASES = {"t5": HFEncoderDecoder("t5", gated=False, scaled=True, **SIZES),  # type: ignore[arg-type]
         "flan_t5": HFEncoderDecoder("t5", **SIZES),  # type: ignore[arg-type]
         "bart": HFEncoderDecoder("bart", gated=False, context=64, start=2, **SIZES)}  # type: ignore[arg-type]
PROMPTS, ANSWERS = (7, 4), (5, 3)


@pytest.fixture(scope="module", params=CASES)
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
         ) -> tuple[EncoderDecoderBackbone, PreTrainedModel, HFEncoderDecoder]:
    """Our backbone, filled from a folder, and the library's model that wrote it."""
    config, folder = CASES[request.param], tmp_path_factory.mktemp("model")
    torch.manual_seed(3)
    known = facts(config)
    if config.model_type == "t5":
        known.scale_decoder_outputs = config.scaled
    cls = T5ForConditionalGeneration if config.model_type == "t5" else BartForConditionalGeneration
    theirs: PreTrainedModel = cls(known).eval()  # type: ignore[arg-type]  # each with its own
    for weights in theirs.parameters():  # norms and biases begin as constants
        torch.nn.init.normal_(weights, std=0.3)
    if config.model_type == "bart":
        theirs.final_logits_bias.normal_()  # type: ignore[operator]  # a buffer
    theirs.save_pretrained(folder)
    made = EncoderDecoderBackbone(HFEncoderDecoder(**{**config.__dict__, "weights": str(folder)})).eval()
    return made, theirs, config


def rows() -> tuple[list[Tensor], list[Tensor]]:
    generator = torch.Generator().manual_seed(1)
    return tuple([torch.randint(3, 60, (count,), generator=generator) for count in counts]  # type: ignore[return-value]
                 for counts in (PROMPTS, ANSWERS))


def ours(model: EncoderDecoderBackbone) -> Tensor:
    """Logits at the positions that predict the answers, row behind row, of a batch that is padded on the right."""
    prompts, answers = rows()
    ids = torch.nn.utils.rnn.pad_sequence([torch.cat(pair) for pair in zip(prompts, answers, strict=True)], batch_first=True)
    lengths = torch.tensor(PROMPTS) + torch.tensor(ANSWERS)
    mask = torch.arange(ids.shape[1]) < lengths[:, None]
    layout = InputLayout(torch.tensor(PROMPTS), torch.zeros_like(mask))
    logits = model.logits(model(model.embed(ids), mask, layout=layout))
    return torch.cat([row[start - 1:start - 1 + count] for row, start, count in zip(logits, PROMPTS, ANSWERS, strict=True)])


def theirs_alone(model: PreTrainedModel, config: HFEncoderDecoder) -> Tensor:
    """The library's logits, each row alone, its decoder fed with the start token and the answer."""
    found = []
    for prompt, answer in zip(*rows(), strict=True):
        fed = torch.cat([torch.tensor([config.start]), answer[:-1]])
        found.append(model(input_ids=prompt[None], decoder_input_ids=fed[None]).logits[0])
    return torch.cat(found)


def test_logits_and_gradients_are_the_library_s(pair: tuple[EncoderDecoderBackbone, PreTrainedModel, HFEncoderDecoder]) -> None:
    model, theirs, config = pair
    found, expected = ours(model), theirs_alone(theirs, config)
    assert_close(found, expected, atol=2e-5, rtol=1e-5)
    for logits in (found, expected):
        logits.square().mean().backward()  # type: ignore[no-untyped-call]
    body = theirs.model if isinstance(theirs, BartForConditionalGeneration) else theirs
    assert_close(model.shared.weight.grad, body.shared.weight.grad, atol=1e-4, rtol=1e-4)  # type: ignore[union-attr]


@torch.no_grad()
def test_what_stands_in_the_prompt_matters(pair: tuple[EncoderDecoderBackbone, PreTrainedModel, HFEncoderDecoder]) -> None:
    model = pair[0]
    before = ours(model)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(model, "_encode", lambda inputs, mask: torch.zeros_like(inputs))
        assert float((ours(model) - before).abs().max()) > 0.1


@torch.no_grad()
def test_greedy_answers_are_the_library_s(pair: tuple[EncoderDecoderBackbone, PreTrainedModel, HFEncoderDecoder]) -> None:
    model, theirs, config = pair
    prompts, _ = rows()
    expected = [theirs.generate(prompt[None], max_new_tokens=6, min_new_tokens=6, do_sample=False, num_beams=1,  # type: ignore[operator]
                                decoder_start_token_id=config.start, forced_eos_token_id=None, forced_bos_token_id=None,
                                eos_token_id=None, pad_token_id=1)[0, 1:] for prompt in prompts]
    longest = max(PROMPTS)
    ids = torch.stack([torch.nn.functional.pad(prompt, (longest - len(prompt), 0)) for prompt in prompts])
    mask = torch.arange(longest) >= longest - torch.tensor(PROMPTS)[:, None]
    layout = InputLayout(torch.full((2,), longest), torch.zeros_like(mask))
    hidden, state = model.step(model.embed(ids), mask, model.init_state(2, layout))
    found = []
    for _ in range(6):
        token = model.logits(hidden[:, -1]).argmax(-1, keepdim=True)
        found.append(token)
        mask = torch.cat([mask, torch.ones(2, 1, dtype=torch.bool)], dim=1)
        hidden, state = model.step(model.embed(token), mask, state)
    assert torch.equal(torch.cat(found, dim=1), torch.stack(expected))


def test_media_behind_an_answer_are_refused() -> None:
    model, mask = CASES["flan_t5"].build(), torch.ones(1, 6, dtype=torch.bool)
    spliced = torch.tensor([[False, True, False, False, True, False]])
    with pytest.raises(DataError, match="A row has media behind its first answer"):
        model(torch.zeros(1, 6, 32), mask, layout=InputLayout(torch.tensor([3]), spliced))


def test_a_folder_of_another_size_is_one_sentence(tmp_path: Path) -> None:
    T5ForConditionalGeneration(facts(CASES["t5"])).save_pretrained(tmp_path)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"backbone.weights .* does not fit a t5 of these sizes"):
        HFEncoderDecoder("t5", str(tmp_path), **{**SIZES, "dim": 64}).build()  # type: ignore[arg-type]


@pytest.mark.parametrize("wrong,sentence", [({"start": 60}, "start is 60, but must be an id below 60"),
                                            ({"model_type": "bart"}, "of a bart gated and scaled must be false"),
                                            ({"layers": 0}, "layers is 0, but must be at least 1")])
def test_impossible_settings_are_one_sentence(wrong: dict[str, object], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        HFEncoderDecoder(**{**SIZES, **wrong})  # type: ignore[arg-type]
