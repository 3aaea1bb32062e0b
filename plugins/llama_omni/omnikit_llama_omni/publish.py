"""A model of ours in LLaMA-Omni's published files. What that layout cannot express goes into config.json under one key of
ours and into a file of its own; a model that the layout can express completely gets neither.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from copy import deepcopy
from pathlib import Path

import torch

from omnikit.contracts.configs import Describe, ModelDescription
from omnikit.contracts.types import LazyTensor
from omnikit.errors import OmnikitError, RunError
from omnikit.recipe.schema import plain
from omnikit.store.layouts import additions, part_settings, to_legacy_weight_norm, write_config, write_extras, write_json
from omnikit.store.shards import save_shards
from omnikit_llama_omni import names
from omnikit_llama_omni.config import UnitHiFiGAN
from omnikit_llama_omni.convert import recipe
from omnikit_llama_omni.files import opened
from omnikit_llama_omni.layout import VOCODER, LlamaOmni

HOLDS = {"audio.encoder": "whisper", "audio.projector": "stack_mlp", "backbone": "hf", "speech.head": "ctc_units",
         "speech.codec": "unit_hifigan"}
NEEDED = ("audio.encoder", "audio.projector", "backbone")
FILES = ("weights", "centroids")  # fields of parts that name files whose tensors are in the model by now
Named = Mapping[str, LazyTensor]


def write(model: ModelDescription, tensors: Mapping[str, Named], folder: Path, describe: Describe) -> None:
    """Write a model's files into a folder that holds its tokenizer already.

    Raises:
        RunError: a part that every LLaMA-Omni has is missing or of another kind.
    """
    parts = _held(model)
    held: dict[str, LazyTensor] = {}
    extras: dict[str, LazyTensor] = {}
    for part, named in tensors.items():
        for name, tensor in named.items():
            if part not in parts or name.startswith("repeat_embed."):
                extras[f"{part}.{name}"] = tensor
            elif part not in ("audio.encoder", "speech.codec"):
                held[names.to_checkpoint(part, name)] = tensor
    save_shards(held, folder)
    whisper = _write_whisper(model, tensors["audio.encoder"], folder)
    if "speech.codec" in parts:
        _write_vocoder(model.parts["speech.codec"], tensors["speech.codec"], folder)
    write_extras(extras, folder)
    write_config(_config(model, parts, whisper, _ids(folder)), folder, lambda: _additions(model, folder, describe))


def _held(model: ModelDescription) -> list[str]:
    """Give the parts that the layout's own files hold: a vocoder only behind the head that gives its units."""
    used = model.uses
    wrong = [f"{part} of this run is {used.get(part, 'missing')}, but layout llama_omni holds {HOLDS[part]} there; such a model"
             " cannot be exported in it." for part in NEEDED if used.get(part) != HOLDS[part]]
    family = getattr(model.parts.get("backbone"), "model_type", "llama")
    if family != "llama":
        wrong.append(f"backbone.model_type is {family!r}, but layout llama_omni holds a llama; such a model cannot be exported"
                     " in it.")
    if wrong:
        raise RunError(*wrong)
    parts = [part for part, use in HOLDS.items() if used.get(part) == use]
    return [part for part in parts if part != "speech.codec" or "speech.head" in parts]


def _write_whisper(model: ModelDescription, named: Named, folder: Path) -> str:
    """Write the encoder as openai's file; give its path inside the folder, as config.json has it."""
    facts = plain(model.parts["audio.encoder"])
    dims = {"n_mels": facts["mel_bins"], "n_audio_ctx": facts["positions"], "n_audio_state": facts["dim"],
            "n_audio_head": facts["heads"], "n_audio_layer": facts["layers"]}
    large = list(dims.values()) == [128, 1500, 1280, 20, 32]
    place = f"models/speech_encoder/{'large-v3' if large else 'whisper'}.pt"
    (folder / place).parent.mkdir(parents=True)
    state = {names.to_checkpoint("audio.encoder", name): tensor.read() for name, tensor in named.items()}
    torch.save({"dims": dims, "model_state_dict": state}, folder / place)
    return place


def _write_vocoder(codec: UnitHiFiGAN, named: Named, folder: Path) -> None:
    (folder / VOCODER).parent.mkdir()
    torch.save({"generator": {to_legacy_weight_norm(name): tensor.read() for name, tensor in named.items()}}, folder / VOCODER)
    dilations = codec.block_dilations or [codec.dilations] * len(codec.block_kernels)
    facts: dict[str, object] = {
        "resblock": "1", "upsample_rates": codec.rates, "upsample_kernel_sizes": codec.kernels,
        "upsample_initial_channel": codec.channels, "resblock_kernel_sizes": codec.block_kernels,
        "resblock_dilation_sizes": dilations, "num_embeddings": codec.units, "embedding_dim": codec.dim,
        "model_in_dim": codec.width, "code_hop_size": int(codec.sample_rate / codec.spec.rate),
        "sampling_rate": codec.sample_rate}
    if codec.speakers:
        facts |= {"multispkr": "_", "num_speakers": codec.speakers}
    if codec.duration_dim is not None:
        facts["dur_predictor_params"] = {"encoder_embed_dim": codec.dim, "var_pred_hidden_dim": codec.duration_dim,
                                         "var_pred_kernel_size": 3, "var_pred_dropout": 0.5}
    write_json((folder / VOCODER).with_name("config.json"), facts)


def _config(model: ModelDescription, parts: list[str], whisper: str, ids: Mapping[str, int]) -> dict[str, object]:
    """Give config.json with the original's keys: of a Llama, and its own."""
    llm, own = plain(model.parts.get("backbone")), {part: plain(model.parts[part]) for part in parts}
    speaks = "speech.head" in parts
    rope = None if llm["rope_factor"] is None else {
        "factor": llm["rope_factor"], "low_freq_factor": llm["rope_low"], "high_freq_factor": llm["rope_high"],
        "original_max_position_embeddings": llm["rope_original"], "rope_type": "llama3"}
    end = ids.get(model.template.end) if model.template else None
    ends = list(model.parts["backbone"].ends) or [end]
    config: dict[str, object] = {
        "architectures": [f"OmniSpeech{'2S' if speaks else ''}LlamaForCausalLM"],
        "model_type": f"omni_speech{'2s' if speaks else ''}_llama", "hidden_size": llm["dim"],
        "num_hidden_layers": llm["layers"], "num_attention_heads": llm["heads"], "num_key_value_heads": llm["kv_heads"],
        "intermediate_size": llm["ffn"], "vocab_size": llm["vocabulary"], "max_position_embeddings": llm["context"],
        "rms_norm_eps": llm["rms_eps"], "rope_theta": llm["rope_theta"], "rope_scaling": rope,
        "tie_word_embeddings": llm["tie_embeddings"], "torch_dtype": llm["dtype"], "hidden_act": "silu",
        "attention_bias": False, "mlp_bias": False, "attention_dropout": 0.0, "initializer_range": 0.02, "use_cache": True,
        "bos_token_id": ids.get("<|begin_of_text|>"), "eos_token_id": ends if len(ends) > 1 else ends[0],
        "pad_token_id": ids.get("<|finetune_right_pad_id|>"),
        "speech_encoder": whisper, "speech_encoder_type": "whisper",
        "speech_encoder_ds_rate": own["audio.projector"]["stride"], "speech_encoder_hidden_size": own["audio.encoder"]["dim"],
        "speech_projector_type": "linear", "speech_normalize": False, "tokenizer_model_max_length": 2048,
        "tokenizer_padding_side": "right"}
    if speaks:
        head, codes = own["speech.head"], model.codes.get("speech")
        assert codes, "head ctc_units stands beside a codec"
        config |= {"speech_generator_type": "ctc", "ctc_upsample_factor": head["factor"], "ctc_loss_weight": 1.0,
                   "ctc_decoder_config": f"({head['layers']},{head['dim']},{head['heads']},{head['ffn']})",
                   "unit_vocab_size": codes.cardinality}
    return config


def _additions(model: ModelDescription, folder: Path, describe: Describe) -> dict[str, object]:
    """Give what the files as they are would be read wrongly without."""
    ids, files, own = _ids(folder), opened(LlamaOmni(str(folder))), part_settings(model, FILES)
    try:
        tree = recipe(files)
        read = describe(deepcopy(tree))
    except OmnikitError:  # a part is not in the layout's files at all
        return {"parts": own, "keys": model.settings}
    theirs = part_settings(read, FILES)
    if _other_ends(model, ids) == _other_ends(read, ids):  # the template's end may be among them or not
        theirs["backbone"]["ends"] = own["backbone"]["ends"]
    return additions(own, theirs, model, read, tree)


def _other_ends(model: ModelDescription, ids: Mapping[str, int]) -> list[int]:
    """Give the ids that end an answer beside the template's end."""
    end = ids.get(model.template.end) if model.template else None
    return [each for each in model.parts["backbone"].ends if each != end]


def _ids(folder: Path) -> dict[str, int]:
    """Give special token → id of the tokenizer in a folder."""
    path = folder / "tokenizer.json"
    if not path.is_file():
        return {}
    return {token["content"]: token["id"] for token in json.loads(path.read_text(encoding="utf-8")).get("added_tokens", [])}
