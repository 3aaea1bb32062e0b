"""A whole model of a case as the folder in which LLaMA-Omni is published, for the importer that users use."""

import json
from pathlib import Path

import torch
from omnikit_llama_omni.config import UnitHiFiGAN
from parity.case import Case, ReplayError, refuse_others
from safetensors.torch import load_file, save_file
from tokenizers import AddedToken, Tokenizer
from tokenizers.models import WordLevel
from torch import Tensor

ENCODER = "model.speech_encoder."
SPECIALS = {"bos_token_id": "<|begin_of_text|>", "eos_token_id": "<|eot_id|>", "pad_token_id": "<|finetune_right_pad_id|>"}
WHISPER, VOCODER = Path("models/speech_encoder/whisper.pt"), Path("vocoder/g_00500000")


def write(case: Case, folder: Path) -> dict[str, Tensor]:
    """Write a case's model; a vocoder of its unit count with random weights goes with it, since no case brings one.

    Returns:
        every tensor by its name in its file; the vocoder's behind "vocoder.".
    """
    llm = case.config["llm"]
    main = {name: tensor.contiguous() for name, tensor in case.weights.items() if not name.startswith(ENCODER)}
    encoder = {f"encoder.{name.removeprefix(ENCODER)}": tensor for name, tensor in case.weights.items()
               if name.startswith(ENCODER)}
    if not encoder or len(encoder) == len(case.weights):
        raise ReplayError(f"its weights hold {'no' if not encoder else 'only'} {ENCODER}*")
    for file in (WHISPER, VOCODER):
        (folder / file).parent.mkdir(parents=True)
    save_file(main, folder / "model.safetensors", metadata={"format": "pt"})
    dims = _dims(encoder, case.config["whisper_encoder"]["heads"])
    stated = {"n_mels": "n_mels", "ctx": "n_audio_ctx", "state": "n_audio_state", "layers": "n_audio_layer"}
    refuse_others(case.config["whisper_encoder"], {key: (dims[name],) for key, name in stated.items()})
    torch.save({"dims": dims, "model_state_dict": encoder}, folder / WHISPER)
    stated = {key: value for key, value in case.config.items() if isinstance(value, str | int | float)}
    config = {**SETTINGS, "speech_encoder_hidden_size": dims["n_audio_state"], **stated, **llm}
    (folder / "config.json").write_text(json.dumps(config, indent=1))
    _write_tokenizer(llm, folder / "tokenizer.json")
    vocoder = _vocoder(llm["unit_vocab_size"], folder / VOCODER, case.facts.get("seed", 0))
    return main | encoder | {f"vocoder.{name}": tensor for name, tensor in vocoder.items()}


SETTINGS = {
    "architectures": ["OmniSpeech2SLlamaForCausalLM"], "model_type": "omni_speech2s_llama", "torch_dtype": "float32",
    "speech_encoder": str(WHISPER), "speech_encoder_type": "whisper", "speech_projector_type": "linear",
    "speech_normalize": False, "tokenizer_model_max_length": 2048, "tokenizer_padding_side": "right",
}
"""What config.json of a published model holds beside its sizes (fact sheet 4.10); a case's own words go before these."""


def read(folder: Path) -> dict[str, Tensor]:
    """Give every tensor of such a folder, however its main weights are cut into files; names as `write` gives them."""
    found: dict[str, Tensor] = {}
    for file in sorted(folder.glob("model*.safetensors")):
        found |= load_file(file)
    whisper = json.loads((folder / "config.json").read_text())["speech_encoder"]
    found |= torch.load(folder / whisper, weights_only=True)["model_state_dict"]
    vocoder = torch.load(folder / VOCODER, weights_only=True)
    return found | {f"vocoder.{name}": tensor for name, tensor in vocoder["generator"].items()}


def _dims(encoder: dict[str, Tensor], heads: int) -> dict[str, int]:
    """Give openai's sizes, which but for the heads are those of the tensors."""
    state, mels, _ = encoder["encoder.conv1.weight"].shape
    return {"n_mels": mels, "n_audio_ctx": len(encoder["encoder.positional_embedding"]), "n_audio_state": state,
            "n_audio_head": heads, "n_audio_layer": len([name for name in encoder if name.endswith("mlp_ln.bias")])}


def _write_tokenizer(llm: dict[str, object], path: Path) -> None:
    """Write a tokenizer with as many words as the case's model has ids; BOS, end and padding stand where the case has them."""
    size = int(str(llm["vocab_size"]))
    placed = {int(str(llm[key])): token for key, token in SPECIALS.items() if isinstance(llm.get(key), int)}
    free = (number for number in range(size - 1, -1, -1) if number not in placed)
    for token in (*SPECIALS.values(), "<|start_header_id|>", "<|end_header_id|>"):
        if token not in placed.values():
            placed[next(free)] = token
    words = [placed.get(number, f"w{number}") for number in range(size)]
    unknown = next(word for word in words if word not in placed.values())
    tokenizer = Tokenizer(WordLevel({word: number for number, word in enumerate(words)}, unk_token=unknown))
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in placed.values()])
    tokenizer.save(str(path))


def _vocoder(units: int, path: Path, seed: int) -> dict[str, Tensor]:
    torch.manual_seed(seed)
    config = UnitHiFiGAN(units=units, dim=4, channels=32, duration_dim=4)
    legacy = {"original0": "weight_g", "original1": "weight_v"}
    weights = {}
    for name, tensor in config.build().state_dict().items():
        stem, _, last = name.rpartition(".")
        weights[f"{stem.removesuffix('.parametrizations.weight')}.{legacy[last]}" if last in legacy else name] = tensor
    torch.save({"generator": weights}, path)
    path.with_name("config.json").write_text(json.dumps({
        "num_embeddings": units, "embedding_dim": 4, "model_in_dim": 4, "upsample_initial_channel": config.channels,
        "upsample_rates": list(config.rates), "upsample_kernel_sizes": list(config.kernels), "resblock": "1",
        "resblock_kernel_sizes": list(config.block_kernels), "code_hop_size": 320, "sampling_rate": config.sample_rate,
        "resblock_dilation_sizes": [list(config.dilations)] * len(config.block_kernels), "dur_prediction_weight": 1.0,
        "dur_predictor_params": {"encoder_embed_dim": 4, "var_pred_hidden_dim": 4, "var_pred_kernel_size": 3,
                                 "var_pred_dropout": 0.5}}))
    return weights
