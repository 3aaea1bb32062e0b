"""A LLaVA-1.5 of a few million random weights: as transformers' model, and as a recipe of ours with the same weights.

A frozen CLIP tower (features of its last layer, without the class token), two Linears, and a Llama that is trained with them.
"""

import json
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from transformers import CLIPVisionConfig, LlamaConfig, LlavaConfig, LlavaForConditionalGeneration

from omnikit.contracts.types import Batch, ContentPart, Message, Sample
from omnikit.model import OmniModel
from omnikit.plan.plan import Plan, make
from omnikit.recipe.compose import compose
from omnikit.splice import normalised

SIDE, PATCH, VISION_DIM, DIM, LAYERS, HEADS, FFN, VOCABULARY, CONTEXT = 112, 14, 128, 128, 4, 4, 384, 4000, 1024
IMAGE = 665  # the first id that the tokenizer does not have
TRAINED = ["vision.projector", "backbone"]
TOWER = {"embed_dim": 64, "quick_gelu": True, "text_cfg": {},
         "vision_cfg": {"image_size": SIDE, "layers": LAYERS, "width": VISION_DIM, "patch_size": PATCH}}
RECIPE = """\
# @package _global_
defaults:
  - /recipe
  - /vision/encoder: openclip_vit_l_14_336
  - /vision/projector: mlp_2x
  - /backbone: llama_tiny_random
  - /text/head: lm
  - /data/rows: messages_jsonl
  - _self_
system: ""
vision: {{encoder: {{model: {folder}/tower.json, layer: -1}}}}
backbone: {backbone}
data: {{rows: {{path: rows.jsonl, provides: [text, image, answer]}}}}
stages:
  learn:
    train: {{vision: {{projector: full}}, backbone: full}}
    loss: {{text: 1.0}}
    data: {{rows: 1.0}}
    optim: {{lr: 1e-3, weight_decay: 0, warmup: 0, muon: null}}
    trainer: {{max_steps: {steps}, batch_size: {batch}, accelerator: cpu, workers: 0}}
"""


def plan_of(folder: Path, steps: int, batch: int) -> Plan:
    """Write the recipe and give its plan; its stage is `learn`."""
    sizes = {"dim": DIM, "layers": LAYERS, "heads": HEADS, "kv_heads": HEADS, "ffn": FFN, "vocabulary": VOCABULARY,
             "context": CONTEXT}
    (folder / "tower.json").write_text(json.dumps(TOWER))
    (folder / "llava.yaml").write_text(RECIPE.format(folder=folder, backbone=json.dumps(sizes), steps=steps, batch=batch))
    return make(compose(str(folder / "llava.yaml"), []))


def of_transformers() -> LlavaForConditionalGeneration:
    """Give transformers' model, the same weights each time."""
    torch.manual_seed(0)
    vision = CLIPVisionConfig(hidden_size=VISION_DIM, intermediate_size=4 * VISION_DIM, num_hidden_layers=LAYERS,
                              num_attention_heads=VISION_DIM // 64, image_size=SIDE, patch_size=PATCH)
    text = LlamaConfig(hidden_size=DIM, intermediate_size=FFN, num_hidden_layers=LAYERS, num_attention_heads=HEADS,
                       num_key_value_heads=HEADS, vocab_size=VOCABULARY, max_position_embeddings=CONTEXT, rms_norm_eps=1e-5)
    model = LlavaForConditionalGeneration(LlavaConfig(vision_config=vision, text_config=text, image_token_index=IMAGE,
                                                      vision_feature_layer=-1, image_seq_length=(SIDE // PATCH) ** 2))
    model.model.vision_tower.requires_grad_(False)
    return model


def of_omnikit(plan: Plan) -> OmniModel:
    """Give our model with the weights of transformers'."""
    model, theirs = OmniModel(plan), of_transformers().state_dict()
    found: dict[str, Tensor] = {}
    for name in model.state_dict():
        part, _, rest = name.partition(".")
        found[name] = theirs[of_backbone(rest)] if part == "backbone" else joined(of_vision(name), theirs)
    model.load_state_dict(found)
    return model


def of_backbone(name: str) -> str:
    """Give transformers' name of a weight of the backbone."""
    return f"model.language_model.{name.removeprefix('model.')}" if name.startswith("model.") else name


def of_vision(name: str) -> str:
    """Give transformers' name of a weight of tower or projector; open_clip has one matrix for queries, keys and values."""
    renamed = {"vision.projector.layers.0": "model.multi_modal_projector.linear_1",
               "vision.projector.layers.2": "model.multi_modal_projector.linear_2",
               "vision.encoder.tower": "model.vision_tower", "class_embedding": "embeddings.class_embedding",
               "positional_embedding": "embeddings.position_embedding.weight", "conv1": "embeddings.patch_embedding",
               "ln_pre": "pre_layrnorm", "transformer.resblocks": "encoder.layers", "ln_1": "layer_norm1",
               "ln_2": "layer_norm2",
               "attn.in_proj_": "self_attn.{}_proj.", "attn.out_proj": "self_attn.out_proj", "mlp.c_fc": "mlp.fc1",
               "mlp.c_proj": "mlp.fc2"}
    for ours, theirs in renamed.items():
        name = name.replace(ours, theirs)
    return name


def joined(name: str, tensors: dict[str, Tensor]) -> Tensor:
    """Give a tensor, or those of queries, keys and values one after another."""
    return torch.cat([tensors[name.format(kind)] for kind in "qkv"]) if "{}" in name else tensors[name]


def made(number: int, words: int, random: np.random.Generator, *, image: bool = True) -> Sample:
    """Make up a row: an image or none, a question, and an answer of so many words."""
    pixels = random.integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)
    asked = [ContentPart("image", pixels=pixels)] if image else []
    answer = ContentPart("text", text="it is so " * words)
    return Sample(f"row{number}", (Message("user", (*asked, ContentPart("text", text="what is it "))),
                                   Message("assistant", (answer,))))


def inputs(plan: Plan, batch: Batch) -> dict[str, Tensor]:
    """Give a batch of ours as transformers' model takes it; the pixels are normalised already."""
    spec, count = plan.inputs["vision"].image_spec, batch.tokens.numel()
    tokens = batch.tokens.flatten().index_fill(0, batch.slots["vision"], IMAGE).view_as(batch.tokens)
    labels = torch.full((count,), -100)
    positions = (torch.arange(len(batch.tokens))[:, None] * batch.tokens.shape[1] + batch.answers)
    valid = torch.arange(batch.answers.shape[1]) < batch.answer_lengths[:, None]
    labels[positions[valid]] = batch.tokens.flatten()[positions[valid]]
    mask = torch.arange(batch.tokens.shape[1]) < batch.lengths[:, None]
    return {"input_ids": tokens, "attention_mask": mask.long(), "labels": labels.view_as(tokens),
            "pixel_values": normalised(batch.signals["vision"], spec).data}


