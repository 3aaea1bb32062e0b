"""A checkpoint's folder as fields of the backbone: config.json, generation_config.json and the tokenizer's files.

Reads JSON, and the defaults of an architecture as the installed transformers writes them down; imports neither it nor torch.
"""

import ast
import math
from collections.abc import Iterable, Mapping
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

from omnikit.contracts.folders import FolderValue
from omnikit.errors import ConfigError
from omnikit.recipe.model_folder import TokenizerFolder, model_folder, read_object
from omnikit.store import adapter_config

# our field → transformers' name; those that a config.json lacks stand at the architecture's default
NAMES = {"dim": "hidden_size", "layers": "num_hidden_layers", "heads": "num_attention_heads",
         "kv_heads": "num_key_value_heads", "ffn": "intermediate_size", "vocabulary": "vocab_size",
         "tie_embeddings": "tie_word_embeddings", "rms_eps": "rms_norm_eps"}
OTHER_NAMES = {"gpt2": {"dim": "n_embd", "layers": "n_layer", "heads": "n_head", "kv_heads": "n_head", "ffn": "n_inner"}}
OTHER_CONTEXT = {"gpt2": "n_positions"}
EXPERTS = ("num_local_experts", "num_experts", "n_routed_experts")
ROPE = {"rope_theta": "rope_theta", "rope_factor": "factor", "rope_low": "low_freq_factor", "rope_high": "high_freq_factor",
        "rope_original": "original_max_position_embeddings"}
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
        self.names = NAMES | OTHER_NAMES.get(kind, {})

    def get(self, name: str) -> object:
        """Give a value of the file, else the architecture's default; None where there is neither."""
        found = self.content.get(name)
        return self.defaults.get(name) if found is None else found

    def stated(self, name: str, value: object) -> FolderValue:
        """Give a value with the place that it comes from."""
        if isinstance(value, float) and not math.isfinite(value):
            raise ConfigError(f"{self.path} has {name} {value}, which is not a finite number; copy the file again.")
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
                found[ours] = self.stated(theirs, self._number(theirs, value))
        return found | self._context() | self._head_dim(found) | self._experts()

    def _number(self, name: str, value: object) -> object:
        if isinstance(value, int | float) and (isinstance(value, bool) or value > 0):
            return value
        raise ConfigError(f"{self.path} has {name} {value!r}, but it must be a number above 0; copy the file again.")

    def _context(self) -> dict[str, FolderValue]:
        name = OTHER_CONTEXT.get(self.model_type, "max_position_embeddings")
        value = self.get(name)
        if value is None:
            return {}
        stated = self.stated(name, self._number(name, value))
        return {"context": FolderValue(stated.value, stated.place, at_most=True)}

    def _head_dim(self, sizes: Mapping[str, FolderValue]) -> dict[str, FolderValue]:
        """Give the width of a head where it is not the hidden size over the heads."""
        value, dim, heads = self.get("head_dim"), sizes["dim"].value, sizes["heads"].value
        if value is None or not isinstance(dim, int) or not isinstance(heads, int) or dim == heads * int(str(value)):
            return {"head_dim": FolderValue(None, f"{self.path.name} head_dim")}
        return {"head_dim": self.stated("head_dim", self._number("head_dim", value))}

    def _experts(self) -> dict[str, FolderValue]:
        name = next((name for name in EXPERTS if self.get(name)), None)
        if name is None:
            return {"experts": FolderValue(0, f"{self.path.name}, a dense model,")}
        active = self.get("num_experts_per_tok")
        return {"experts": self.stated(name, self._number(name, self.get(name)))} | (
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
        stated = {"rope_theta": self.stated(place, float(str(self._number("rope_theta", theta))))}
        if kind == "default":
            return stated | {"rope_factor": self.stated(place, None)}
        name = "rope_parameters" if "rope_parameters" in self.content else "rope_scaling"
        return stated | {ours: self.stated(f"{name}.{theirs}", self._number(theirs, found[theirs]))
                         for ours, theirs in ROPE.items() if ours != "rope_theta" and theirs in found}

    def dtype(self) -> dict[str, FolderValue]:
        """Give the dtype of the weights."""
        value = self.content.get("dtype", self.content.get("torch_dtype"))
        name = str(value).removeprefix("torch.")
        return {"dtype": FolderValue(name, f"{self.path.name} dtype", fixed=False)} if name in DTYPES else {}


def _ends(config: _ModelConfig, folder: Path) -> dict[str, FolderValue]:
    """Give the ids that end an answer: of generation_config.json, else of config.json."""
    generation = read_object(folder / "generation_config.json").get("eos_token_id")
    value = config.content.get("eos_token_id") if generation is None else generation
    place = "config.json" if generation is None else "generation_config.json"
    ids = value if isinstance(value, list) else [value] if value is not None else []
    vocabulary = config.get("vocab_size")
    wrong = [i for i in ids if not isinstance(i, int) or isinstance(i, bool) or not isinstance(vocabulary, int)
             or not 0 <= i < vocabulary]
    if wrong:
        raise ConfigError(f"{folder / place} has eos_token_id {wrong[0]!r}, but ids are from 0 to {vocabulary} - 1; copy the"
                          " file again.")
    return {"ends": FolderValue(tuple(ids), f"{place} eos_token_id", fixed=False)}


def _tokenizer(fields: Mapping[str, object], folder: Path, sizes: Mapping[str, FolderValue]) -> dict[str, FolderValue]:
    """Give the folder as its tokenizer, with its special tokens and its template."""
    tokenizer = TokenizerFolder(folder)
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
    """Give how the folder's own answers are made: greedily, or at a temperature."""
    content = read_object(folder / "generation_config.json")
    found: dict[str, FolderValue] = {}
    temperature, limit = content.get("temperature", 1.0), content.get("max_new_tokens")
    if content.get("do_sample") is True and isinstance(temperature, int | float) and math.isfinite(temperature):
        found["generate.temperature"] = FolderValue(float(temperature), "generation_config.json temperature", fixed=False)
    if isinstance(limit, int) and limit > 0:
        found["generate.max_new_tokens"] = FolderValue(limit, "generation_config.json max_new_tokens", fixed=False)
    return found


@lru_cache(maxsize=64)
def architecture_defaults(model_type: str) -> dict[str, object]:
    """Give the defaults of an architecture's configuration in the installed transformers; {} where it has none."""
    spec = find_spec("transformers")
    roots = list(spec.submodule_search_locations or ()) if spec else []
    name = model_type.replace("-", "_")
    for folder in (name, name.removesuffix("_text")):
        for file in (Path(root) / "models" / folder / f"configuration_{folder}.py" for root in roots):
            if file.is_file():
                return _class_defaults(ast.parse(file.read_text(encoding="utf-8")), model_type)
    return {}


def _class_defaults(tree: ast.Module, model_type: str) -> dict[str, object]:
    """Give the constants of the class that describes an architecture."""
    for node in tree.body:
        if isinstance(node, ast.ClassDef) and (found := _constants(node.body)).get("model_type") == model_type:
            return found
    return {}


def _constants(body: Iterable[ast.stmt]) -> dict[str, object]:
    found: dict[str, object] = {}
    for node in body:
        target = node.target if isinstance(node, ast.AnnAssign) else node.targets[0] if isinstance(node, ast.Assign) else None
        if isinstance(target, ast.Name) and isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None:
            value = _constant(node.value)
            if value is not None:
                found[target.id] = value
    return found


def _constant(node: ast.expr) -> object:
    """Give a literal or a product of two; None for anything else."""
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mult):
        left, right = _constant(node.left), _constant(node.right)
        return left * right if isinstance(left, int | float) and isinstance(right, int | float) else None
    try:
        return ast.literal_eval(node)
    except ValueError:
        return None
