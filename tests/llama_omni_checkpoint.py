"""A small LLaMA-Omni as its authors publish it: random tensors under the original's names, written without our converter.

Names and shapes are those of the fact sheet (ictnlp/LLaMA-Omni, openai-whisper, fairseq), in small.
"""

import json
from pathlib import Path

import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer, models, pre_tokenizers
from torch import Tensor

SPECIALS = ["<|begin_of_text|>", "<|end_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"]
DIMS = {"n_mels": 80, "n_audio_ctx": 40, "n_audio_state": 16, "n_audio_head": 2, "n_audio_layer": 1}
VOCABULARY, UNITS = 50, 12
CONFIG = {
    "architectures": ["OmniSpeech2SLlamaForCausalLM"], "model_type": "omni_speech2s_llama", "vocab_size": VOCABULARY,
    "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
    "max_position_embeddings": 512, "rms_norm_eps": 1e-5, "rope_theta": 500000.0, "rope_scaling": {
        "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 128,
        "rope_type": "llama3"},
    "tie_word_embeddings": False, "torch_dtype": "float32", "speech_encoder": "models/speech_encoder/large-v3.pt",
    "speech_encoder_type": "whisper", "speech_encoder_ds_rate": 5, "speech_encoder_hidden_size": 16,
    "speech_projector_type": "linear", "speech_generator_type": "ctc", "ctc_decoder_config": "(2,16,2,24)",
    "ctc_upsample_factor": 5, "ctc_loss_weight": 1.0, "unit_vocab_size": UNITS}


def assert_same(one: dict[str, dict[str, Tensor]], two: dict[str, dict[str, Tensor]]) -> None:
    """Compare part → name → tensor."""
    assert {part: set(named) for part, named in one.items()} == {part: set(named) for part, named in two.items()}
    for part, named in one.items():
        for name, tensor in named.items():
            assert torch.equal(tensor, two[part][name]), f"{part}.{name}"


def language_model(seed: int = 0) -> dict[str, Tensor]:
    """Give a Llama's tensors."""
    return _drawn(seed, {"model.embed_tokens.weight": (VOCABULARY, 32), "model.norm.weight": (32,),
                         "lm_head.weight": (VOCABULARY, 32)} | _layers("model.layers", 2, 32, 48, keys=16))


def speech_parts(seed: int = 1) -> dict[str, Tensor]:
    """Give the tensors of projector and speech generator."""
    shapes = {"model.speech_projector.linear1.weight": (24, 80), "model.speech_projector.linear1.bias": (24,),
              "model.speech_projector.linear2.weight": (32, 24), "model.speech_projector.linear2.bias": (32,),
              "speech_generator.input_proj.weight": (16, 32), "speech_generator.input_proj.bias": (16,),
              "speech_generator.output_proj.weight": (UNITS + 1, 16), "speech_generator.output_proj.bias": (UNITS + 1,)}
    return _drawn(seed, shapes | _layers("speech_generator.layers", 2, 16, 24, keys=16))


def encoder(seed: int = 2) -> dict[str, Tensor]:
    """Give a Whisper encoder's tensors by openai's names, without `encoder.`."""
    block = {"attn.query": (16, 16), "attn.key": (16, 16), "attn.value": (16, 16), "attn.out": (16, 16), "attn_ln": (16,),
             "mlp.0": (64, 16), "mlp.2": (16, 64), "mlp_ln": (16,)}
    shapes = {"conv1.weight": (16, 80, 3), "conv1.bias": (16,), "conv2.weight": (16, 16, 3), "conv2.bias": (16,),
              "positional_embedding": (40, 16), "ln_post.weight": (16,), "ln_post.bias": (16,)}
    shapes |= {f"blocks.0.{name}.weight": shape for name, shape in block.items()}
    shapes |= {f"blocks.0.{name}.bias": shape[:1] for name, shape in block.items() if name != "attn.key"}
    return _drawn(seed, shapes)


def vocoder(seed: int = 3) -> dict[str, Tensor]:
    """Give a unit vocoder's tensors with weight norm's legacy names; 32 channels, blocks of kernels 3 and 7."""
    shapes: dict[str, tuple[int, ...]] = {
        "dict.weight": (UNITS, 8), "dur_predictor.conv1.0.weight": (6, 8, 3), "dur_predictor.conv1.0.bias": (6,),
        "dur_predictor.conv2.0.weight": (6, 6, 3), "dur_predictor.conv2.0.bias": (6,), "dur_predictor.proj.weight": (1, 6),
        "dur_predictor.proj.bias": (1,)}
    shapes |= {f"dur_predictor.{norm}.{kind}": (6,) for norm in ("ln1", "ln2") for kind in ("weight", "bias")}
    shapes |= _normed("conv_pre", (32, 8, 7), 32) | _normed("conv_post", (1, 1, 7), 1)
    for step, kernel in enumerate((11, 8, 8, 4, 4)):
        wide = 32 >> step
        shapes |= _normed(f"ups.{step}", (wide, wide // 2, kernel), wide // 2)
        for block, width in enumerate((3, 7)):
            for number in range(3):
                for convs in ("convs1", "convs2"):
                    stem = f"resblocks.{2 * step + block}.{convs}.{number}"
                    shapes |= _normed(stem, (wide // 2, wide // 2, width), wide // 2)
    return _drawn(seed, shapes)


def write(folder: Path, weights: dict[str, Tensor] | None = None, **config: object) -> Path:
    """Write a checkpoint's folder (model.safetensors), and beside it whisper.pt and vocoder/."""
    folder.mkdir(parents=True)
    write_config(folder, **config)
    write_tokenizer(folder / "tokenizer.json")
    save_file(language_model() | speech_parts() if weights is None else weights, folder / "model.safetensors", {"format": "pt"})
    write_whisper(folder.parent / "whisper.pt")
    write_vocoder(folder.parent / "vocoder")
    return folder


def write_config(folder: Path, **changes: object) -> None:
    """Write config.json with changes; a key changed to None is left out."""
    values = {**CONFIG, **changes}
    (folder / "config.json").write_text(json.dumps({key: value for key, value in values.items() if value is not None}))


def write_whisper(path: Path) -> None:
    """Write openai's file: encoder and a decoder that nothing reads."""
    state = {f"encoder.{name}": tensor for name, tensor in encoder().items()} | {"decoder.ln.weight": torch.ones(16)}
    torch.save({"dims": {**DIMS, "n_vocab": 9, "n_text_ctx": 4}, "model_state_dict": state}, path)


def write_vocoder(folder: Path) -> None:
    """Write g_00500000 and its config.json."""
    folder.mkdir()
    torch.save({"generator": vocoder()}, folder / "g_00500000")
    facts = {"upsample_rates": [5, 4, 4, 2, 2], "resblock_dilation_sizes": [[1, 3, 5], [1, 3, 5]], "sampling_rate": 16000}
    (folder / "config.json").write_text(json.dumps(facts))


def write_tokenizer(path: Path) -> None:
    """Write a tokenizer of words w1, w2, … with Llama 3's special tokens."""
    words = {f"w{number}": number for number in range(1, VOCABULARY - len(SPECIALS))}
    tokenizer = Tokenizer(models.WordLevel({"<unk>": 0, **words}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.add_special_tokens(SPECIALS)
    tokenizer.save(str(path))


def _layers(stem: str, count: int, dim: int, ffn: int, keys: int) -> dict[str, tuple[int, ...]]:
    """Give the shapes of Llama layers; `keys` is the width of keys and values."""
    one = {"self_attn.q_proj": (dim, dim), "self_attn.k_proj": (keys, dim), "self_attn.v_proj": (keys, dim),
           "self_attn.o_proj": (dim, dim), "mlp.gate_proj": (ffn, dim), "mlp.up_proj": (ffn, dim), "mlp.down_proj": (dim, ffn),
           "input_layernorm": (dim,), "post_attention_layernorm": (dim,)}
    return {f"{stem}.{layer}.{name}.weight": shape for layer in range(count) for name, shape in one.items()}


def _normed(stem: str, shape: tuple[int, ...], out: int) -> dict[str, tuple[int, ...]]:
    return {f"{stem}.weight_g": (shape[0], 1, 1), f"{stem}.weight_v": shape, f"{stem}.bias": (out,)}


def _drawn(seed: int, shapes: dict[str, tuple[int, ...]]) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {name: torch.randn(shape, generator=generator) * 0.1 for name, shape in shapes.items()}
