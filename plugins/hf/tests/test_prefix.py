"""Backbone `hf_prefix` attends as PaliGemma of transformers does: both ways inside the prompt, causally behind it."""

import pytest
import torch
from omnikit_hf.prefix import PrefixBackbone
from omnikit_hf.prefix_config import HFPrefix
from torch import Tensor
from torch.testing import assert_close
from transformers import GemmaConfig, PaliGemmaConfig, PaliGemmaForConditionalGeneration, SiglipVisionConfig

from omnikit.contracts.layout import InputLayout

IMAGE, VOCABULARY, DIM, SIDE, PATCH = 59, 60, 32, 8, 4
VECTORS, QUESTIONS, ANSWERS = (SIDE // PATCH) ** 2, (5, 3), (4, 6)
PROMPTS = tuple(VECTORS + count for count in QUESTIONS)


@pytest.fixture(scope="module")
def theirs() -> PaliGemmaForConditionalGeneration:
    torch.manual_seed(3)
    text = GemmaConfig(hidden_size=DIM, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
                       head_dim=8, vocab_size=VOCABULARY, max_position_embeddings=64, pad_token_id=0)
    vision = SiglipVisionConfig(hidden_size=16, intermediate_size=24, num_hidden_layers=1, num_attention_heads=2,
                                image_size=SIDE, patch_size=PATCH)
    model = PaliGemmaForConditionalGeneration(PaliGemmaConfig(
        text_config=text, vision_config=vision, image_token_index=IMAGE, projection_dim=DIM)).eval()
    for weights in model.parameters():
        torch.nn.init.normal_(weights, std=0.2)
    return model


@pytest.fixture(scope="module")
def ours(theirs: PaliGemmaForConditionalGeneration) -> PrefixBackbone:
    model = HFPrefix("gemma", dim=DIM, layers=2, heads=4, kv_heads=2, head_dim=8, ffn=48, vocabulary=VOCABULARY, context=64,
                     rms_eps=1e-6, tie_embeddings=True).build().eval()
    model.model.load_state_dict(theirs.model.language_model.state_dict())  # type: ignore[union-attr, operator]
    assert isinstance(model, PrefixBackbone)
    return model


def rows() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Ids [B, L], mask [B, L], token types [B, L] (0: prompt) and pixels of a batch of unequal rows, padded on the right."""
    generator = torch.Generator().manual_seed(1)
    made = [torch.cat([torch.full((VECTORS,), IMAGE), torch.randint(3, 50, (asked + answer,), generator=generator)])
            for asked, answer in zip(QUESTIONS, ANSWERS, strict=True)]
    ids = torch.nn.utils.rnn.pad_sequence(made, batch_first=True)
    indices = torch.arange(ids.shape[1])
    mask = indices < torch.tensor([len(row) for row in made])[:, None]
    types = (indices >= torch.tensor(PROMPTS)[:, None]).long()
    return ids, mask, types, torch.randn(2, 3, SIDE, SIDE, generator=generator)


def inputs_of(model: PrefixBackbone, theirs: PaliGemmaForConditionalGeneration) -> tuple[Tensor, Tensor]:
    """Vectors with those of the images spliced in, and the mask."""
    ids, mask, _, pixels = rows()
    images = theirs.model.get_image_features(pixels).pooler_output
    vectors = model.embed(ids).clone()
    vectors[:, :VECTORS] = images
    return vectors, mask


def answers(hidden: Tensor) -> Tensor:
    return torch.cat([row[start - 1:start - 1 + count] for row, start, count in zip(hidden, PROMPTS, ANSWERS, strict=True)])


@torch.no_grad()
def test_logits_are_paligemma_s(theirs: PaliGemmaForConditionalGeneration, ours: PrefixBackbone) -> None:
    ids, mask, types, pixels = rows()
    expected = theirs(input_ids=ids, attention_mask=mask.long(), token_type_ids=types, pixel_values=pixels).logits
    vectors, _ = inputs_of(ours, theirs)
    layout = InputLayout(torch.tensor(PROMPTS), ids == IMAGE)
    found = ours.logits(ours(vectors, mask, layout=layout))
    assert_close(answers(found), answers(expected), atol=1e-5, rtol=1e-5)
    causal = ours.logits(ours(vectors, mask, layout=InputLayout(torch.zeros(2, dtype=torch.int64), ids == IMAGE)))
    assert float((answers(causal) - answers(found)).abs().max()) > 1e-3  # the mask matters


@torch.no_grad()
def test_an_answer_step_by_step_is_that_of_the_whole_row(theirs: PaliGemmaForConditionalGeneration,
                                                         ours: PrefixBackbone) -> None:
    vectors, mask = inputs_of(ours, theirs)
    whole = ours(vectors, mask, layout=InputLayout(torch.tensor(PROMPTS), torch.zeros_like(mask)))
    longest = max(PROMPTS)
    left = torch.stack([torch.nn.functional.pad(row[:count], (0, 0, longest - count, 0)) for row, count in
                        zip(vectors, PROMPTS, strict=True)])
    valid = torch.arange(longest) >= longest - torch.tensor(PROMPTS)[:, None]
    hidden, state = ours.step(left, valid, ours.init_state(2))
    found = [hidden[:, -1]]
    for step in range(min(ANSWERS) - 1):
        valid = torch.cat([valid, torch.ones(2, 1, dtype=torch.bool)], dim=1)
        token = torch.stack([row[count + step] for row, count in zip(vectors, PROMPTS, strict=True)])
        hidden, state = ours.step(token[:, None], valid, state)
        found.append(hidden[:, -1])
    expected = torch.stack([row[count - 1:count - 1 + min(ANSWERS)] for row, count in zip(whole, PROMPTS, strict=True)])
    assert_close(torch.stack(found, dim=1), expected, atol=1e-5, rtol=1e-5)


def test_kernels_without_such_masks_are_refused() -> None:
    with pytest.raises(ValueError, match="attention is flash_attention_2, but must be sdpa or eager"):
        HFPrefix(attention="flash_attention_2")
