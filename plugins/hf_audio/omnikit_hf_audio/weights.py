"""transformers' module of an audio encoder, with random weights or those of a folder, strictly. Takes no waveforms.

A folder's tensors get the module's names by transformers' own rules, which differ between its versions.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import cast

import torch
from torch import nn
from transformers.configuration_utils import PreTrainedConfig
from transformers.modeling_utils import PreTrainedModel
from transformers.models.audio_spectrogram_transformer.configuration_audio_spectrogram_transformer import ASTConfig
from transformers.models.audio_spectrogram_transformer.modeling_audio_spectrogram_transformer import ASTModel
from transformers.models.hubert.configuration_hubert import HubertConfig
from transformers.models.hubert.modeling_hubert import HubertModel
from transformers.models.wav2vec2.configuration_wav2vec2 import Wav2Vec2Config
from transformers.models.wav2vec2.modeling_wav2vec2 import Wav2Vec2Model
from transformers.models.wav2vec2_bert.configuration_wav2vec2_bert import Wav2Vec2BertConfig
from transformers.models.wav2vec2_bert.modeling_wav2vec2_bert import Wav2Vec2BertModel
from transformers.models.wavlm.configuration_wavlm import WavLMConfig
from transformers.models.wavlm.modeling_wavlm import WavLMModel
from transformers.models.whisper.configuration_whisper import WhisperConfig
from transformers.models.whisper.modeling_whisper import WhisperEncoder
from transformers.utils import logging

from omnikit.recipe.model_folder import model_folder
from omnikit.store.pretrained import Report, check_report
from omnikit.store.tensors import in_folder
from omnikit_hf_audio.encoder import Encoder
from omnikit_hf_audio.families import FAMILIES

MODELS: dict[str, tuple[type[PreTrainedConfig], type[PreTrainedModel]]] = {
    "wav2vec2": (Wav2Vec2Config, Wav2Vec2Model), "hubert": (HubertConfig, HubertModel), "wavlm": (WavLMConfig, WavLMModel),
    "w2v_bert": (Wav2Vec2BertConfig, Wav2Vec2BertModel), "whisper": (WhisperConfig, WhisperEncoder),
    "ast": (ASTConfig, ASTModel)}
CLOSING = {"whisper": "layer_norm", "ast": "layernorm"}
STABLE_CLOSING = "encoder.layer_norm"
PREFIX = re.compile(r"(wav2vec2|hubert|wavlm|wav2vec2_bert|audio_spectrogram_transformer|(model\.)?encoder)\.")
BESIDE = re.compile(r"(lm_head|projector|classifier|quantizer|project_q|project_hid|tdnn|objective|proj_out|layer_weights|"
                    r"(model\.)?decoder)\b|(\w+\.)?masked_spec_embed$")  # of a model that has the encoder, or for its training
LAYER = re.compile(r"(?:^|\.)layers?\.(\d+)\.")
ADVICE = "hf_audio's field `weights` must name a folder that transformers wrote, or be null for random weights"
SENTENCE = "The weights in {folder} do not fit hf_audio: {{}}; give a complete checkpoint whose config.json is its own"
_DROPOUTS = ("hidden_dropout", "attention_dropout", "activation_dropout", "feat_proj_dropout")
UNUSED: dict[str, object] = {"layerdrop": 0.0, "mask_time_prob": 0.0, "mask_feature_prob": 0.0, "apply_spec_augment": False}


def fresh(encoder: Encoder) -> PreTrainedModel:
    """Give the module with random weights."""
    return trimmed(MODELS[encoder.family][1](configuration(encoder)), encoder)


def loaded(encoder: Encoder, folder: str, prefix: str = "") -> PreTrainedModel:
    """Give the module with a folder's weights, float32.

    Args:
        prefix: what a wrapper put before their names.

    Raises:
        RunError: a file is missing or damaged, or a tensor is missing, unexpected or of another shape.
    """
    found = in_folder(model_folder(folder) or Path(folder).expanduser(), ADVICE, prefix)
    whisper = encoder.family == "whisper"  # whose encoder is a part, not the base of its models
    matched = {PREFIX.sub("", name, count=1) if whisper and PREFIX.match(name) else name: tensor
               for name, tensor in found.items() if not _behind(name, encoder)}
    state = {name: tensor.read() for name, tensor in matched.items()}
    with quiet():
        pair: object = MODELS[encoder.family][1].from_pretrained(
            None, config=configuration(encoder), state_dict=state, dtype=torch.float32, ignore_mismatched_sizes=True,
            output_loading_info=True)
    model, report = cast(tuple[PreTrainedModel, Report], pair)  # with output_loading_info
    check_report(report, model.state_dict(), matched, SENTENCE.format(folder=folder),
                 optional=None if encoder.closes else f"{_closing(encoder)}.")
    return trimmed(model, encoder)


def configuration(encoder: Encoder) -> PreTrainedConfig:
    """Give transformers' configuration of an encoder, with the layers that are built."""
    names = FAMILIES[encoder.family]
    values: dict[str, object] = {theirs: getattr(encoder, ours) for ours, (theirs, _) in names.items()}
    values[names["layers"][0]] = encoder.depth
    if encoder.family == "whisper":
        values |= {"dropout": encoder.dropout, "attention_dropout": encoder.dropout, "encoder_layerdrop": 0.0}
    elif encoder.family == "ast":
        values |= {"hidden_dropout_prob": encoder.dropout, "attention_probs_dropout_prob": encoder.dropout}
    else:
        values |= {**UNUSED, **dict.fromkeys(_DROPOUTS, encoder.dropout)}
    if encoder.family == "w2v_bert":
        values["conformer_conv_dropout"] = encoder.dropout
    return MODELS[encoder.family][0](**values)  # type: ignore[arg-type]  # their fields, by name


def trimmed(model: PreTrainedModel, encoder: Encoder) -> PreTrainedModel:
    """Leave out the norm behind the last layer where it is not asked for, and let Whisper's sines be no parameter."""
    closing = _closing(encoder)
    if closing and not encoder.closes:
        owner, _, name = closing.rpartition(".")
        setattr(model.get_submodule(owner), name, nn.Identity())
    if encoder.family == "whisper":  # transformers has them frozen; a stage that trains all parameters would train them
        table = model.get_submodule("embed_positions")
        weight = table.get_parameter("weight").detach()
        del table.weight
        table.register_buffer("weight", weight)
    return model


def layers_of(model: PreTrainedModel) -> nn.ModuleList:
    """Give the transformer layers of a module."""
    found = model.get_submodule("encoder.layers" if hasattr(model, "encoder") else "layers")
    assert isinstance(found, nn.ModuleList)
    return found


@contextmanager
def quiet() -> Iterator[None]:
    """Keep transformers' bars and tables of names away; what is wrong is our sentence."""
    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()  # type: ignore[no-untyped-call]  # transformers has none here
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]  # transformers has none here
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()  # type: ignore[no-untyped-call]  # transformers has none here


def _closing(encoder: Encoder) -> str:
    """Give the norm behind the last layer, or ""."""
    return STABLE_CLOSING if encoder.stable else CLOSING.get(encoder.family, "")


def _behind(name: str, encoder: Encoder) -> bool:
    """Whether a folder's tensor is of another part of the model, or behind what is taken."""
    match = LAYER.search(name)
    if match and encoder.depth <= int(match.group(1)) < encoder.layers and "feature_extractor" not in name:
        return True
    closing = _closing(encoder)
    if closing and not encoder.closes and re.match(rf"(\w+\.)*?{re.escape(closing)}\.", name) and not match:
        return True
    return BESIDE.match(name) is not None
