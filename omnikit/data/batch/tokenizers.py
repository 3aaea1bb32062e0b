"""The tokenizers of a plan: its own, held against backbone and template, and those of transcript branches."""

from omnikit.contracts.optional import head_options
from omnikit.data.text.tokenizer import Tokenizer, load
from omnikit.errors import ConfigError
from omnikit.plan.plan import Plan


def check_tokenizer(plan: Plan, tokenizer: Tokenizer | None) -> None:
    """Compare the loaded tokenizer with what the plan could not count without loading it."""
    if tokenizer is None or plan.backbone is None or plan.template is None:
        return
    if len(tokenizer) > plan.backbone.vocabulary:
        raise ConfigError(f"backbone.tokenizer {plan.tokenizer!r} has {len(tokenizer)} ids, but backbone.vocabulary is"
                          f" {plan.backbone.vocabulary}; set backbone.vocabulary={len(tokenizer)}.")
    split = [f"{token} ({len(tokenizer.ids(token))})" for token in plan.template.specials if len(tokenizer.ids(token)) != 1]
    if split:
        raise ConfigError(f"backbone.tokenizer {plan.tokenizer!r} does not write the template's tokens as one id each:"
                          f" {', '.join(split)}; choose the tokenizer that belongs to the template.")


def transcript_tokenizer(plan: Plan, branch: str) -> Tokenizer | None:
    """Give the tokenizer whose ids a transcript branch predicts: its head's own, else the plan's."""
    reference = head_options(plan.outputs[branch].head).tokenizer or plan.tokenizer
    return load(reference) if reference else None
