"""The table of classes in docs/howto/models_of_transformers.md: what layout hf_model holds, and what the others lack here."""

from collections.abc import Iterator

from omnikit_hf_models.convert import CLASSES, OF_T5

MISSING = {
    "VideoLlavaForConditionalGeneration": "one projector behind two towers that do not take the same signals",
    "GraniteSpeechForConditionalGeneration": "a conformer that attends to padding; LoRA that is on beside audio alone",
    "IdeficsForVisionText2Text": "a backbone with that class's own cross-attention layers",
    "MllamaForConditionalGeneration": "a backbone with that class's own cross-attention layers",
    "Kosmos2ForConditionalGeneration": "latent queries that attend to patches and to themselves at once",
    "MoshiForConditionalGeneration": "summed embeddings of text and codes, and a depth decoder",
    "CsmForConditionalGeneration": "summed embeddings of codes, and a depth decoder",
}
"""Class of transformers that is not held → what is missing."""


def lines() -> Iterator[str]:
    """Give the lines of both tables."""
    yield from ("| class of transformers | `model_type` | encoder | projector |", "|---|---|---|---|")
    for model_type, kind in CLASSES.items():
        slots: dict[str, list[str]] = {"encoder": [], "projector": []}
        for part, use in kind.uses.items():
            slots.setdefault(part.rpartition(".")[2], []).append(f"`{use}`")
        parts = [" and ".join(slots[slot]) for slot in ("encoder", "projector")]
        with_t5 = ", with T5 too" if model_type in OF_T5 else ""
        yield f"| {kind.architecture}{with_t5} | `{model_type}` | {' | '.join(parts)} |"
    yield from ("", "| not held | what is missing here |", "|---|---|")
    for name, missing in MISSING.items():
        yield f"| {name} | {missing} |"


if __name__ == "__main__":
    print("\n".join(lines()))  # noqa: T201  # a table for the page
