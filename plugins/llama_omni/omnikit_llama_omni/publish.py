"""A model of ours in LLaMA-Omni's published files. What that layout has no words for goes into config.json under one key of
ours and into a file of its own; a model that the layout holds whole gets neither.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import fields, replace
from pathlib import Path

import torch
from safetensors.torch import save_file

from omnikit.contracts.configs import Describe, ModelDescription
from omnikit.contracts.types import LazyTensor
from omnikit.errors import OmnikitError, RunError
from omnikit.recipe.schema import plain
from omnikit.store.shards import save_shards
from omnikit_llama_omni import names
from omnikit_llama_omni.config import UnitHiFiGAN
from omnikit_llama_omni.convert import KEY, recipe
from omnikit_llama_omni.files import EXTRAS, opened
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
    if extras:
        save_file({name: tensor.read() for name, tensor in extras.items()}, folder / EXTRAS, {"format": "pt"})
    config = _config(model, parts, whisper, _ids(folder))
    _write_json(folder / "config.json", config)
    ours = _beyond(model, folder, describe)
    if ours:
        _write_json(folder / "config.json", {**config, KEY: ours})
    if not (folder / "tokenizer_config.json").is_file() and (folder / "tokenizer.json").is_file():
        _write_json(folder / "tokenizer_config.json", {"tokenizer_class": "PreTrainedTokenizerFast"})


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
    """Write the encoder as openai's file; give its path inside the folder, as config.json says it."""
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
    torch.save({"generator": {names.to_legacy(name): tensor.read() for name, tensor in named.items()}}, folder / VOCODER)
    dilations = codec.block_dilations or [codec.dilations] * len(codec.block_kernels)
    facts: dict[str, object] = {
        "resblock": "1", "upsample_rates": codec.rates, "upsample_kernel_sizes": codec.kernels,
        "upsample_initial_channel": codec.channels, "resblock_kernel_sizes": codec.block_kernels,
        "resblock_dilation_sizes": dilations, "num_embeddings": codec.units, "embedding_dim": codec.dim,
        "model_in_dim": codec.dim, "code_hop_size": int(codec.sample_rate / codec.spec.rate),
        "sampling_rate": codec.sample_rate}
    if codec.duration_dim is not None:
        facts["dur_predictor_params"] = {"encoder_embed_dim": codec.dim, "var_pred_hidden_dim": codec.duration_dim,
                                         "var_pred_kernel_size": 3, "var_pred_dropout": 0.5}
    _write_json((folder / VOCODER).with_name("config.json"), facts)


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


def _beyond(model: ModelDescription, folder: Path, describe: Describe) -> dict[str, object]:
    """Give what the files as they are would be read wrongly without: whole parts (null: there is none), and keys of the top."""
    ids, files = _ids(folder), opened(LlamaOmni(str(folder)))
    own = _settings(model, ids)
    try:
        read = describe(recipe(files))
    except OmnikitError:  # a part is not in the layout's files at all
        return {"parts": {part: choice for part, (_, choice) in own.items()}, "keys": model.settings}
    theirs, keys = _settings(read, ids), read.settings
    parts: dict[str, object] = {part: choice for part, (config, choice) in own.items()
                                if part not in theirs or config != theirs[part][0]}
    parts |= {part: None for part in theirs if part not in own}
    differing = {key: value for key, value in model.settings.items() if value != keys[key]}
    return {key: value for key, value in (("parts", parts), ("keys", differing)) if value}


def _settings(model: ModelDescription, ids: Mapping[str, int]) -> dict[str, tuple[object, dict[str, object]]]:
    """Give part → its dataclass, without what the template says, and how a recipe writes it; nothing that names files."""
    found = {}
    for part, config in model.parts.items():
        config = replace(config, **{f.name: None for f in fields(config) if f.name in FILES})
        if part == "backbone":
            config = replace(config, tokenizer="", template=model.template_name or config.template)
        choice = {"use": model.uses[part], **plain(config)}
        if part == "backbone":
            end = ids.get(model.template.end) if model.template else None
            config = replace(config, ends=tuple(each for each in config.ends if each != end))
        found[part] = (config, choice)
    return found


def _ids(folder: Path) -> dict[str, int]:
    """Give special token → id of the tokenizer in a folder."""
    path = folder / "tokenizer.json"
    if not path.is_file():
        return {}
    return {token["content"]: token["id"] for token in json.loads(path.read_text(encoding="utf-8")).get("added_tokens", [])}


def _write_json(path: Path, values: object) -> None:
    path.write_text(json.dumps(values, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
