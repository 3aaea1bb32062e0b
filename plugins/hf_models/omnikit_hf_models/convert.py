"""A folder of transformers as a recipe of ours and as tensors by our parts and names. Writes nothing."""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import torch
from huggingface_hub.errors import StrictDataclassError
from transformers.configuration_utils import PreTrainedConfig
from transformers.models.auto.configuration_auto import CONFIG_MAPPING

from omnikit.contracts.types import CheckpointTensors, LazyTensor
from omnikit.errors import RunError, nearest
from omnikit.recipe.model_folder import TokenizerFolder, read_object
from omnikit.store.layouts import common_dtype, end_ids, read_extras, split_extras, tokenizer_in, with_additions
from omnikit.store.tensors import in_folder, read_json
from omnikit_hf_models.classes import ModelClass, Source
from omnikit_hf_models.deepseek_hybrid import DEEPSEEK_VL_HYBRID
from omnikit_hf_models.instruct_blip import INSTRUCT_BLIP, INSTRUCT_BLIP_T5
from omnikit_hf_models.layout import HFModel
from omnikit_hf_models.llava import DEEPSEEK_VL, LLAVA, VIP_LLAVA
from omnikit_hf_models.llava_next import LLAVA_NEXT, LLAVA_ONEVISION
from omnikit_hf_models.own_towers import BLIP_2, BLIP_2_T5, IDEFICS3, INTERNVL, QWEN2_AUDIO, SMOLVLM, VOXTRAL
from omnikit_hf_models.paligemma import PALIGEMMA

CLASSES: dict[str, ModelClass] = {"llava": LLAVA, "llava_next": LLAVA_NEXT, "llava_onevision": LLAVA_ONEVISION,
                                 "vipllava": VIP_LLAVA, "deepseek_vl": DEEPSEEK_VL,
                                 "deepseek_vl_hybrid": DEEPSEEK_VL_HYBRID, "internvl": INTERNVL,
                                 "blip-2": BLIP_2, "qwen2_audio": QWEN2_AUDIO, "voxtral": VOXTRAL,
                                 "idefics3": IDEFICS3, "smolvlm": SMOLVLM, "paligemma": PALIGEMMA,
                                 "instructblip": INSTRUCT_BLIP}
"""model_type of a config.json → its class."""
OF_T5: dict[str, ModelClass] = {"blip-2": BLIP_2_T5, "instructblip": INSTRUCT_BLIP_T5}
"""The same, where the language model is an encoder-decoder."""
PARTS = re.compile(r"\btype\b")  # in a chat template that takes messages in parts, each with its type, and not as texts


@dataclass(frozen=True)
class Opened:
    """Everything that a source names.

    Args:
        config: config.json as it is.
        tensors: by the names that the class's own are written for.
    """

    source: Source
    kind: ModelClass
    config: dict[str, object]
    tensors: dict[str, LazyTensor]
    extras: dict[str, LazyTensor]
    tokenizer: Path
    template: str | None


def opened(layout: HFModel) -> Opened:
    """Open the files of a source; raises RunError for the first that is missing, unreadable or of another class."""
    folder = Path(layout.folder).expanduser()
    if not folder.is_dir():
        raise RunError(f"{folder} is not a folder; give one that transformers' save_pretrained wrote.")
    file = folder / "config.json"
    config = read_json(file)
    model_type = str(config.get("model_type"))
    kind = CLASSES.get(model_type)
    if kind is None:
        raise RunError(f"{file} has model_type {model_type!r}, but layout hf_model holds {', '.join(CLASSES)}; give such a"
                       f" folder.{nearest(model_type, CLASSES)}")
    try:
        facts = CONFIG_MAPPING[model_type].from_dict({key: value for key, value in config.items() if key != "omnikit"})
    except (ValueError, TypeError, AttributeError, LookupError, StrictDataclassError) as error:
        raise RunError(f"{file} describes nothing that transformers can build ({' '.join(str(error).split())[:200]}); copy the"
                       " file again.") from error
    kind = class_of(facts)
    tensors = {kind.canonical(name): tensor for name, tensor in in_folder(folder, prefix=layout.weights_prefix or "").items()}
    return Opened(Source(file, facts), kind, config, tensors, read_extras(folder), tokenizer_in(layout.tokenizer, folder),
                  layout.template)


def class_of(facts: PreTrainedConfig) -> ModelClass:
    """Give the class of a configuration of transformers."""
    own = CLASSES[facts.model_type]
    return OF_T5.get(facts.model_type, own) if facts.get_text_config().is_encoder_decoder else own


def recipe(files: Opened) -> dict[str, object]:
    """Give the model as a recipe's YAML would hold it, without stages; see HFModel.recipe."""
    tree: dict[str, object] = {**files.kind.branches(files.source), "backbone": _backbone(files),
                               "text": {"head": {"use": "lm"}}}
    asked = {"template": files.template} if files.template else {}  # by --template, which wins
    return with_additions(tree, files.config, files.source.file, {"tokenizer": str(files.tokenizer), **asked})


def published(files: Opened) -> CheckpointTensors:
    """Give the tensors by our parts and names; see HFModel.open."""
    tensors: dict[str, dict[str, LazyTensor]] = defaultdict(dict)
    ignored: dict[str, list[LazyTensor]] = defaultdict(list)
    unused, tied = re.compile(f"{files.kind.unused(files.source.facts)}|{files.kind.repeats}"), _is_tied(files)
    for name, tensor in files.tensors.items():
        part, own = files.kind.ours(name) or ("other", name)
        again = tied and (part, own) == ("backbone", "lm_head.weight")
        if again or unused.match(name) or name.endswith("rotary_emb.inv_freq"):
            ignored[part].append(tensor)
        else:
            tensors[part][own] = tensor
    for part, own, tensor in split_extras(files.extras):
        tensors[part][own] = tensor
    return CheckpointTensors(dict(tensors), dict(ignored), files.kind.theirs,
                             dict.fromkeys(files.kind.uses, str(files.source.file.parent)))


def _backbone(files: Opened) -> dict[str, object]:
    text = files.source.facts.get_text_config()
    own = {name: tensor for name, tensor in files.tensors.items() if (files.kind.ours(name) or "?")[0] == "backbone"}
    keys: dict[str, object] = {**text.to_dict(), **{key: files.config[key] for key in ("eos_token_id",) if key in files.config}}
    return files.kind.language.backbone(text, tied=_is_tied(files)) | {"use": files.kind.uses["backbone"]} | {
        "dtype": common_dtype(own), "tokenizer": str(files.tokenizer), "ends": end_ids(keys, files.source.file),
        "specials": _specials(files.tokenizer), "template": files.template or _template(files)}


def _specials(tokenizer: Path) -> list[str]:
    """Give the special tokens of a tokenizer's folder, or of its one file."""
    if tokenizer.is_dir() or tokenizer.name == "tokenizer.json":
        return list(TokenizerFolder(tokenizer if tokenizer.is_dir() else tokenizer.parent).specials)
    added = read_object(tokenizer).get("added_tokens")
    return [str(token["content"]) for token in added if token.get("special")] if isinstance(added, list) else []


def _template(files: Opened) -> str:
    """Give "auto" where the folder's chat template takes conversations of texts, else the class's own."""
    chat = TokenizerFolder(files.tokenizer if files.tokenizer.is_dir() else files.tokenizer.parent).chat_template
    return files.kind.template if chat is None or PARTS.search(chat) else "auto"


def _is_tied(files: Opened) -> bool:
    """Whether the output matrix is the embedding table: where there is none, or one that is stated to be equal and is."""
    held = {files.kind.ours(name): tensor for name, tensor in files.tensors.items()}
    head = held.get(("backbone", "lm_head.weight"))
    table = next((tensor for found, tensor in held.items() if found and found[0] == "backbone"
                  and found[1].endswith(files.kind.language.table)), None)
    if head is None or table is None:
        return head is None
    configs = (files.source.facts, files.source.facts.get_text_config())
    stated = any(getattr(facts, "tie_word_embeddings", False) for facts in configs)
    return bool(stated) and head.shape == table.shape and torch.equal(head.read(), table.read())
