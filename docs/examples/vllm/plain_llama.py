"""Write the language model of an exported run as a plain Llama folder, which vLLM and transformers load.

omnikit export llama_omni RUN --out exported
python docs/examples/vllm/plain_llama.py exported plain
"""

import json
import shutil
import sys
from pathlib import Path

from safetensors.torch import load_file, save_file

PARTS = ("model.embed_tokens.", "model.layers.", "model.norm.", "lm_head.")  # the rest is encoder, projector, speech head
SETTINGS = ("hidden_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads", "intermediate_size",
            "vocab_size", "max_position_embeddings", "rms_norm_eps", "rope_theta", "rope_scaling", "tie_word_embeddings",
            "hidden_act", "bos_token_id", "eos_token_id", "torch_dtype")


def main(source: Path, out: Path) -> None:
    """Write the folder."""
    out.mkdir(parents=True)
    config = json.loads((source / "config.json").read_text(encoding="utf-8"))
    plain = {"architectures": ["LlamaForCausalLM"], "model_type": "llama", **{name: config[name] for name in SETTINGS}}
    (out / "config.json").write_text(json.dumps(plain, indent=1), encoding="utf-8")
    tensors = load_file(source / "model.safetensors")
    save_file({name: tensor for name, tensor in tensors.items() if name.startswith(PARTS)}, out / "model.safetensors",
              {"format": "pt"})
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(source / name, out / name)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
