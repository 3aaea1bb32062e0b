"""Random tiny checkpoints of the families, written by save_pretrained, with tokenizers and chat templates of their forms."""

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    PreTrainedTokenizerFast,
)

SIZES = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
         "vocab_size": 400, "max_position_embeddings": 256, "bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 1}
TEXTS = ["What is two plus one? Three.", "The cat sat on the mat and said yes.", "Answer in one word, please.\n\nNo thinking."]

CHATML = """{%- for message in messages %}<|im_start|>{{ message.role }}
{{ message.content }}<|im_end|>
{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant
{% endif %}"""
DEFAULT_SYSTEM = """{%- if messages[0].role != 'system' %}<|im_start|>system
You are a helpful assistant.<|im_end|>
{% endif %}""" + CHATML
THINKING = """{%- set ns = namespace(last=-1) %}
{%- for message in messages %}{% if message.role == 'user' %}{% set ns.last = loop.index0 %}{% endif %}{% endfor %}
{%- for message in messages %}
{%- if message.role == 'assistant' %}
    {%- set content = message.content.split('</think>')[-1].lstrip('\\n') %}
    {%- set thoughts = message.content.split('</think>')[0].split('<think>')[-1].strip('\\n') if '</think>' in message.content
        else '' %}
    {%- if loop.index0 > ns.last %}
        {{- '<|im_start|>assistant\\n<think>\\n' + thoughts + '\\n</think>\\n\\n' + content + '<|im_end|>\\n' }}
    {%- else %}
        {{- '<|im_start|>assistant\\n' + content + '<|im_end|>\\n' }}
    {%- endif %}
{%- else %}
    {{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>\\n' }}
{%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{% endif %}"""
LLAMA3 = """{{- bos_token }}{% for message in messages %}
{{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n' + message['content'] | trim + '<|eot_id|>' }}
{%- endfor %}{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}{% endif %}"""
MISTRAL = """{{- bos_token }}{% for message in messages %}{% if message.role == 'user' %}
{{- '[INST] ' + message.content + '[/INST]' }}
{%- elif message.role == 'assistant' %}{{ ' ' + message.content + eos_token }}
{%- else %}{{ raise_exception('Only user and assistant roles are supported!') }}{% endif %}{% endfor %}"""
PHI = """{% for message in messages %}{{ '<|' + message.role + '|>\\n' + message.content + '<|end|>\\n' }}{% endfor %}
{%- if add_generation_prompt %}{{ '<|assistant|>\\n' }}{% endif %}"""
GEMMA = """{{ bos_token }}{% for message in messages %}{% set role = 'model' if message.role == 'assistant' else message.role %}
{{- '<start_of_turn>' + role + '\\n' + message.content | trim + '<end_of_turn>\\n' }}{% endfor %}
{%- if add_generation_prompt %}{{ '<start_of_turn>model\\n' }}{% endif %}"""
OLMO = """{{ bos_token }}{% for message in messages %}{% if message.role == 'assistant' %}
{{- '<|assistant|>\\n' + message.content + eos_token }}{% if not loop.last %}{{ '\\n' }}{% endif %}
{%- else %}{{ '<|' + message.role + '|>\\n' + message.content + '\\n' }}{% endif %}{% endfor %}
{%- if add_generation_prompt %}{{ '<|assistant|>\\n' }}{% endif %}"""
GLM = """[gMASK]<sop>{% for message in messages %}{{ '<|' + message.role + '|>\\n' + message.content }}{% endfor %}
{%- if add_generation_prompt %}{{ '<|assistant|>\\n' }}{% endif %}"""
TAGGED = """{% for message in messages %}{% if message.role == 'assistant' %}{{ '<|im_start|>assistant\\n' }}
{%- generation %}{{ message.content + '<|im_end|>' }}{% endgeneration %}{{ '\\n' }}
{%- else %}{{ '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>\\n' }}{% endif %}{% endfor %}
{%- if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"""


@dataclass(frozen=True)
class Family:
    """What distinguishes a family's folder: its architecture, special tokens and chat template."""

    model_type: str
    template: str
    tokens: tuple[str, ...]  # the first begins a text, the second ends it
    end: str
    changes: tuple[tuple[str, object], ...] = ()


IM = ("<|endoftext|>", "<|im_end|>", "<|im_start|>")
HEADERS = ("<|begin_of_text|>", "<|eot_id|>", "<|start_header_id|>", "<|end_header_id|>")
ROLES = ("<|system|>", "<|user|>", "<|assistant|>")
HEAD = (("head_dim", 12),)
FAMILIES = {
    "llama": Family("llama", LLAMA3, HEADERS, "<|eot_id|>", (("rope_parameters", {
        "rope_type": "llama3", "rope_theta": 500000.0, "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
        "original_max_position_embeddings": 64}),)),
    "qwen2": Family("qwen2", DEFAULT_SYSTEM, IM, "<|im_end|>"),
    "qwen3": Family("qwen3", THINKING, IM, "<|im_end|>", HEAD),
    "mistral": Family("mistral", MISTRAL, ("<s>", "</s>", "[INST]", "[/INST]"), "</s>", HEAD),
    "mixtral": Family("mixtral", MISTRAL, ("<s>", "</s>", "[INST]", "[/INST]"), "</s>", (("num_local_experts", 4),)),
    "phi": Family("phi", PHI, ("<s>", "<|end|>", *ROLES), "<|end|>"),
    "phi3": Family("phi3", PHI, ("<s>", "<|end|>", *ROLES), "<|end|>"),
    "gemma": Family("gemma", GEMMA, ("<bos>", "<end_of_turn>", "<start_of_turn>"), "<end_of_turn>", HEAD),
    "gemma2": Family("gemma2", GEMMA, ("<bos>", "<end_of_turn>", "<start_of_turn>"), "<end_of_turn>", (
        *HEAD, ("final_logit_softcapping", 0.05))),
    "gemma3": Family("gemma3_text", GEMMA, ("<bos>", "<end_of_turn>", "<start_of_turn>"), "<end_of_turn>", HEAD),
    "olmo": Family("olmo", OLMO, ("<|endoftext|>", "</s>", *ROLES), "</s>", (("clip_qkv", 8.0),)),
    "olmo2": Family("olmo2", OLMO, ("<|endoftext|>", "</s>", *ROLES), "</s>"),
    "smollm": Family("llama", CHATML, IM, "<|im_end|>", (("tie_word_embeddings", True),)),
    "smollm3": Family("smollm3", TAGGED, IM, "<|im_end|>"),
    "granite": Family("granite", CHATML, IM, "<|im_end|>", (("logits_scaling", 4.0),)),
    "cohere": Family("cohere", CHATML, IM, "<|im_end|>", (("logit_scale", 3.0),)),
    "glm": Family("glm", GLM, ("[gMASK]", "<|endoftext|>", "<sop>", *ROLES), "<|user|>", HEAD),
    "glm4": Family("glm4", GLM, ("[gMASK]", "<|endoftext|>", "<sop>", *ROLES), "<|user|>", HEAD),
}


@cache
def _vocabulary(tokens: tuple[str, ...]) -> str:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    specials = [AddedToken(token, special=True) for token in tokens]
    trainer = trainers.BpeTrainer(vocab_size=390, show_progress=False, special_tokens=specials,
                                  initial_alphabet=pre_tokenizers.ByteLevel.alphabet())
    tokenizer.train_from_iterator(TEXTS, trainer)
    return tokenizer.to_str()


def write_tokenizer(folder: Path, family: Family) -> None:
    """Write a family's tokenizer as transformers does."""
    PreTrainedTokenizerFast(tokenizer_object=Tokenizer.from_str(_vocabulary(family.tokens)), bos_token=family.tokens[0],
                            eos_token=family.tokens[1], chat_template=family.template).save_pretrained(folder)


def write_folder(folder: Path, name: str) -> Path:
    """Write a family's checkpoint with random weights."""
    family = FAMILIES[name]
    torch.manual_seed(0)
    config = AutoConfig.for_model(family.model_type, **{**SIZES, **dict(family.changes)})
    model = AutoModelForCausalLM.from_config(config)
    model.save_pretrained(folder)
    write_tokenizer(folder, family)
    return folder
