"""The classes of transformers that layout hf_model holds, each as a tiny model."""

import torch
from hf_parity import Case
from torch import Tensor
from transformers.configuration_utils import PreTrainedConfig
from transformers.modeling_utils import PreTrainedModel
from transformers.models.clip.configuration_clip import CLIPVisionConfig
from transformers.models.llama.configuration_llama import LlamaConfig
from transformers.models.llava.configuration_llava import LlavaConfig
from transformers.models.llava.modeling_llava import LlavaForConditionalGeneration
from transformers.models.qwen2.configuration_qwen2 import Qwen2Config
from transformers.models.siglip.configuration_siglip import SiglipVisionConfig

from omnikit.contracts.types import Signal

SIDE, PATCH, PLACEHOLDER = 40, 16, 699  # of 40 pixels, 8 are in no patch
SIZES = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 3, "num_attention_heads": 4}
TOWER = {**SIZES, "image_size": SIDE, "patch_size": PATCH}
TEXT = {**SIZES, "num_hidden_layers": 2, "num_key_value_heads": 2, "vocab_size": 700, "max_position_embeddings": 256}
ROPE = {"rope_type": "llama3", "rope_theta": 5e4, "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
        "original_max_position_embeddings": 64}


def llama(**changes: object) -> PreTrainedConfig:
    return LlamaConfig(**{**TEXT, **changes})


def images(count: int) -> tuple[Signal, list[int]]:
    pixels = torch.randint(0, 256, (count, 3, SIDE, SIDE), generator=torch.Generator().manual_seed(1), dtype=torch.uint8)
    return Signal(pixels, torch.ones(count, dtype=torch.long)), [1] * count


def pixel_values(signal: Signal) -> dict[str, Tensor]:
    return {"pixel_values": signal.data}


def llava(text: PreTrainedConfig, tower: PreTrainedConfig, **changes: object) -> PreTrainedModel:
    return LlavaForConditionalGeneration(LlavaConfig(text_config=text, vision_config=tower, image_token_index=PLACEHOLDER,
                                                     **changes))


CASES = {
    "llava": Case(lambda: llava(llama(), CLIPVisionConfig(**TOWER)), "vision", images, pixel_values, PLACEHOLDER),
    "llava_full": Case(lambda: llava(
        llama(attention_bias=True, rope_parameters=ROPE), CLIPVisionConfig(**TOWER), vision_feature_layer=[-2, 1],
        vision_feature_select_strategy="full", projector_hidden_act="relu"), "vision", images, pixel_values, PLACEHOLDER),
    "llava_siglip_qwen2": Case(lambda: llava(
        Qwen2Config(**TEXT, tie_word_embeddings=True), SiglipVisionConfig(**TOWER, vision_use_head=False),
        vision_feature_layer=-1, vision_feature_select_strategy="full", tie_word_embeddings=True),
        "vision", images, pixel_values, PLACEHOLDER),
}
