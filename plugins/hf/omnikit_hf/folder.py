"""A checkpoint's folder as fields of the backbone: config.json, generation_config.json and the tokenizer's files.

Reads JSON, and the defaults of an architecture as the installed transformers writes them down; imports neither it nor torch.
"""

import math
import sys
from collections.abc import Mapping
from pathlib import Path

from omnikit.contracts.folders import FolderValue
from omnikit.errors import ConfigError
from omnikit.recipe.causal_config import check_causal, check_ids
from omnikit.recipe.model_folder import TokenizerFolder, check_tokenizer, model_folder, read_object
from omnikit.recipe.weight_files import check_weights, equal
from omnikit.recipe.wrappers import FIELD, behind
from omnikit.store import adapter_config
from omnikit_hf.architectures import architecture_defaults, check_types, closest

# our field → transformers' name; those that a config.json lacks stand at the architecture's default
NAMES = {"dim": "hidden_size", "layers": "num_hidden_layers", "heads": "num_attention_heads",
         "kv_heads": "num_key_value_heads", "ffn": "intermediate_size", "vocabulary": "vocab_size",
         "tie_embeddings": "tie_word_embeddings", "rms_eps": "rms_norm_eps"}
OTHER_NAMES = {"gpt2": {"dim": "n_embd", "layers": "n_layer", "heads": "n_head", "kv_heads": "n_head", "ffn": "n_inner"}}
OTHER_CONTEXT = {"gpt2": "n_positions"}
EXPERTS = ("num_local_experts", "num_experts", "n_routed_experts")
ROPE = {"rope_theta": "rope_theta", "rope_factor": "factor", "rope_low": "low_freq_factor", "rope_high": "high_freq_factor",
        "rope_original": "original_max_position_embeddings"}
GENERATION = {"max_new_tokens": (True, 1.0, math.inf), "temperature": (False, 0.0, sys.float_info.max),
              "top_p": (False, sys.float_info.min, 1.0), "top_k": (True, 0.0, math.inf)}
"""Fields of `generate` → whether they are whole, their least and greatest value in a generation_config.json."""
DRAWN = ("temperature", "top_p", "top_k")
HEAD, TABLES = "lm_head.weight", ("embed_tokens.weight", "wte.weight", "embed_in.weight")
DTYPES = ("float32", "bfloat16", "float16")
FAMILY_TEMPLATES = {"llama": "llama_3", "qwen2": "qwen2p5_instruct", "qwen3": "qwen2p5_instruct", "mistral": "mixtral_instruct",
                    "mixtral": "mixtral_instruct"}
"""Templates for folders without one of their own, where their tokenizer has its tokens."""


def folder_fields(fields: Mapping[str, object]) -> dict[str, FolderValue]:
    """Give what the folder or id in `weights` states for our fields; nothing where there is no such folder.

    Raises:
        ConfigError: its files cannot be read, or hold what no causal language model has.
    """
    if fields.get("adapter"):
        adapter_config.read(Path(str(fields["adapter"])).expanduser())
    folder = model_folder(str(fields["weights"]))
    if folder is None or not (folder / "config.json").is_file():
        return {}
    config = _ModelConfig(folder / "config.json")
    found = config.sizes() | config.rope() | config.dtype()
    if found["tie_embeddings"].value:
        found["tie_embeddings"] = _tied(folder, str(fields.get(FIELD) or ""), found["tie_embeddings"])
    if config.get("attn_logit_softcapping"):  # which no other kernel of transformers has
        found["attention"] = FolderValue("eager", f"{config.path.name} attn_logit_softcapping")
    return found | _ends(config, folder) | _tokenizer(fields, folder, found) | _generation(folder)


class _ModelConfig:
    """A config.json of a causal language model over the defaults of its architecture."""

    def __init__(self, path: Path) -> None:
        self.path, self.content = path, read_object(path)
        kind = self.content.get("model_type")
        if not isinstance(kind, str) or not kind:
            raise ConfigError(f"{path} has no model_type, which names the architecture; copy the file again.")
        if "text_config" in self.content:
            raise ConfigError(f"{path} describes a {kind} of several modalities, whose language model stands in text_config;"
                              " save that language model alone with save_pretrained and give its folder.")
        self.model_type, self.defaults = kind, architecture_defaults(kind)
        if not self.defaults and (close := closest(kind)):
            raise ConfigError(f"{path} has model_type {kind!r}, which transformers does not have. Did you mean {close!r}?")
        self.names = NAMES | OTHER_NAMES.get(kind, {})
        check_causal({**self.defaults, **self.content}, str(path))
        check_types(self.content, kind, path)

    def get(self, name: str) -> object:
        """Give a value of the file, else the architecture's default; None where there is neither."""
        found = self.content.get(name)
        return self.defaults.get(name) if found is None else found

    def stated(self, name: str, value: object) -> FolderValue:
        """Give a value with the place that it comes from."""
        place = self.path.name if name in self.content else f"the default of {self.model_type} in transformers, for"
        return FolderValue(value, f"{place} {name}")

    def sizes(self) -> dict[str, FolderValue]:
        """Give the fields that count something."""
        found = {"model_type": self.stated("model_type", self.model_type)}
        for ours, theirs in self.names.items():
            value = self.get(theirs)
            if ours == "kv_heads" and value is None:
                value = self.get(self.names["heads"])
            if ours == "ffn" and value is None and isinstance(dim := self.get(self.names["dim"]), int):
                value = 4 * dim
            if ours == "tie_embeddings" and value is None:
                value = True  # of PreTrainedConfig
            if value is not None:
                found[ours] = self.stated(theirs, value)
        return found | self._context() | self._head_dim(found) | self._experts()

    def _context(self) -> dict[str, FolderValue]:
        name = OTHER_CONTEXT.get(self.model_type, "max_position_embeddings")
        value = self.get(name)
        if value is None:
            return {}
        stated = self.stated(name, value)
        return {"context": FolderValue(stated.value, stated.place, at_most=True)}

    def _head_dim(self, sizes: Mapping[str, FolderValue]) -> dict[str, FolderValue]:
        """Give the width of a head where it is not the hidden size over the heads."""
        value, dim, heads = self.get("head_dim"), sizes["dim"].value, sizes["heads"].value
        if not isinstance(value, int) or not isinstance(dim, int) or not isinstance(heads, int) or dim == heads * value:
            return {"head_dim": FolderValue(None, f"{self.path.name} head_dim")}
        return {"head_dim": self.stated("head_dim", value)}

    def _experts(self) -> dict[str, FolderValue]:
        name = next((name for name in EXPERTS if self.get(name)), None)
        if name is None:
            return {"experts": FolderValue(0, f"{self.path.name}, a dense model,")}
        active = self.get("num_experts_per_tok")
        return {"experts": self.stated(name, self.get(name))} | (
            {"experts_per_token": self.stated("num_experts_per_tok", active)} if active else {})

    def rope(self) -> dict[str, FolderValue]:
        """Give the rotary positions where they are of a kind that our fields hold; the others are the checkpoint's own."""
        found = self.get("rope_parameters") or self.content.get("rope_scaling") or {}
        if not isinstance(found, Mapping) or any(isinstance(value, Mapping) for value in found.values()):
            return {}
        kind = found.get("rope_type", found.get("type", "default"))
        if kind not in ("default", "llama3"):
            return {}
        theta = found.get("rope_theta", self.content.get("rope_theta", self.defaults.get("default_theta", 10000.0)))
        place = "rope_theta" if "rope_theta" in self.content else "rope_parameters"
        stated = {"rope_theta": self.stated(place, float(str(theta)))}
        if kind == "default":
            return stated | {"rope_factor": self.stated(place, None)}
        name = "rope_parameters" if "rope_parameters" in self.content else "rope_scaling"
        return stated | {ours: self.stated(f"{name}.{theirs}", found[theirs])
                         for ours, theirs in ROPE.items() if ours != "rope_theta" and theirs in found}

    def dtype(self) -> dict[str, FolderValue]:
        """Give the dtype of the weights."""
        value = self.content.get("dtype", self.content.get("torch_dtype"))
        if value is not None and not isinstance(value, str):
            raise ConfigError(f"{self.path} has dtype {value!r}, but it must be a name, such as bfloat16; copy the file again.")
        name = str(value).removeprefix("torch.")
        return {"dtype": FolderValue(name, f"{self.path.name} dtype", fixed=False)} if name in DTYPES else {}


def _tied(folder: Path, prefix: str, stated: FolderValue) -> FolderValue:
    """Give whether the output matrix is the embedding table, as transformers decides it: not where the files hold another one.

    Torch files are not opened here; of them a recipe may state that the matrices differ.
    """
    found = behind(check_weights(folder, prefix, f"backbone.{FIELD}"), prefix)
    head = found.get(HEAD)
    tables = [tensor for name, tensor in found.items() if name.endswith(TABLES)]
    if head is None or len(tables) != 1:
        return stated if found else FolderValue(True, stated.place, fixed=False)
    if equal(head, tables[0]):
        return FolderValue(True, stated.place, fixed=False)
    return FolderValue(False, f"{HEAD}, which differs from the embedding table,")


def _ends(config: _ModelConfig, folder: Path) -> dict[str, FolderValue]:
    """Give the ids that end an answer: of generation_config.json and config.json, else the tokenizer's own."""
    stated = {name: content.get("eos_token_id") for name, content in (
        ("generation_config.json", _generation_config(config, folder)), (config.path.name, config.content))}
    ids = [one for value in stated.values() if value is not None for one in (value if isinstance(value, list) else [value])]
    place = " and ".join(name for name, value in stated.items() if value is not None)
    if not ids:
        end, place = TokenizerFolder(folder).end, "tokenizer_config.json"
        ids = [] if end is None else [end]
    ends = tuple(one for one in dict.fromkeys(ids) if isinstance(one, int) and one >= 0)
    return {"ends": FolderValue(ends, f"{place} eos_token_id", fixed=False)}


def _generation_config(config: _ModelConfig, folder: Path) -> dict[str, object]:
    path = folder / "generation_config.json"
    content = read_object(path)
    check_ids(content, str(path), config.get("vocab_size"))
    return content


def _tokenizer(fields: Mapping[str, object], folder: Path, sizes: Mapping[str, FolderValue]) -> dict[str, FolderValue]:
    """Give the folder as its tokenizer, with its special tokens and its template."""
    tokenizer = TokenizerFolder(folder)
    check_tokenizer(folder)
    if not tokenizer.exists:
        return {}
    specials = tokenizer.specials
    found = {"tokenizer": FolderValue(str(folder), "the tokenizer", fixed=False),
             "specials": FolderValue(specials, "the tokenizer", fixed=False)}
    template = _template(fields, tokenizer, sizes)
    return found | ({"template": FolderValue(template, "the chat template", fixed=False)} if template else {})


def _template(fields: Mapping[str, object], tokenizer: TokenizerFolder, sizes: Mapping[str, FolderValue]) -> str | None:
    """Give "auto" for the folder's own template; None leaves the preset's, which was written for a model of these sizes."""
    if all(fields.get(name) == sizes[name].value for name in ("model_type", "dim", "layers", "vocabulary") if name in sizes):
        return None
    if tokenizer.chat_template is not None:
        return "auto"
    return FAMILY_TEMPLATES.get(str(sizes["model_type"].value))


def _generation(folder: Path) -> dict[str, FolderValue]:
    """Give how the folder's own answers are made: greedily, or drawn."""
    path = folder / "generation_config.json"
    content, found = read_object(path), dict[str, FolderValue]()
    names = ("max_new_tokens", *(DRAWN if content.get("do_sample") is True else ()))
    for name in names:
        value = content.get(name)
        if value is None:
            continue
        whole, least, most = GENERATION[name]
        if not _is_number(value, whole=whole) or not least <= float(str(value)) <= most:
            raise ConfigError(f"{path} has {name} {value!r}, but it must be a number from {least:g}"
                              f"{'' if most == math.inf else f' to {most:g}'}; copy the file again.")
        found[f"generate.{name}"] = FolderValue(value if whole else float(str(value)), f"{path.name} {name}", fixed=False)
    if "temperature" in names:
        found.setdefault("generate.temperature", FolderValue(1.0, f"{path.name} do_sample", fixed=False))
    return found


def _is_number(value: object, *, whole: bool) -> bool:
    return not isinstance(value, bool) and isinstance(value, int if whole else (int, float))
