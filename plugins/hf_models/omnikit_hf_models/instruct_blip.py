"""InstructBLIP: BLIP-2's tower, and a Q-Former that also reads the question."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from shutil import copyfile, copytree

from omnikit.contracts.configs import ModelDescription
from omnikit.recipe.schema import plain
from omnikit_hf_models.classes import ModelClass, Source, Tree
from omnikit_hf_models.language_t5 import T5
from omnikit_hf_models.llava import IMAGE, LANGUAGE
from omnikit_hf_models.own_towers import QUERIES, T5_REPEATS, blip_config, image_tower, of_t5, qformer

TOKENIZER = "qformer_tokenizer"  # the folder of the Q-Former's tokenizer, beside the model's files
TEXT = {"vocabulary": "vocab_size", "context": "max_position_embeddings"}


def branches(source: Source) -> Tree:
    """Give the branch `vision` of an InstructBLIP."""
    facts = source.facts
    sizes = {ours: getattr(facts.qformer_config, theirs) for ours, theirs in TEXT.items()}
    folder = source.file.parent / TOKENIZER
    if not folder.is_dir():
        raise source.refuse(TOKENIZER, "nothing", f"folders with the tokenizer of the Q-Former in {TOKENIZER}/")
    return {"vision": {"encoder": image_tower(source), "projector": {**qformer(source), **sizes, "tokenizer": str(folder)}}}


def config(model: ModelDescription) -> dict[str, object]:
    """Give the keys of an InstructBLIP's config.json."""
    found, projector = blip_config(model), plain(model.parts["vision.projector"])
    keys = found["qformer_config"]
    assert isinstance(keys, dict), "of a Q-Former"
    return {**found, "model_type": "instructblip", "qformer_config": {
        **keys, "model_type": "instructblip_qformer", **{theirs: projector[ours] for ours, theirs in TEXT.items()}}}


def write_tokenizer(model: ModelDescription, folder: Path) -> None:
    """Copy the Q-Former's tokenizer into a folder."""
    found = Path(str(model.parts["vision.projector"].tokenizer)).expanduser()
    if found.is_dir():
        copytree(found, folder / TOKENIZER)
    elif found.is_file():
        (folder / TOKENIZER).mkdir()
        copyfile(found, folder / TOKENIZER / "tokenizer.json")


def fits(model: ModelDescription) -> bool:
    """Whether an InstructBLIP's tower passes a Q-Former that reads text."""
    tower, projector = model.parts["vision.encoder"], model.parts["vision.projector"]
    return bool(tower.config["model_type"] == "instructblip_vision_model" and projector.tokenizer)


INSTRUCT_BLIP = ModelClass(
    "InstructBlipForConditionalGeneration", branches,
    QUERIES,
    (("vision_model.", "vision.encoder", "tower."), *LANGUAGE, *((name, "vision.projector", name) for name in (
        "query_tokens", "qformer.", "language_projection."))), config, {"image_token_index": IMAGE}, (), fits,
    template="blip_2", more=write_tokenizer)
INSTRUCT_BLIP_T5 = replace(INSTRUCT_BLIP, uses={**QUERIES, "backbone": "hf_encoder_decoder"}, names=of_t5(INSTRUCT_BLIP.names),
                           language=T5, repeats=T5_REPEATS)
