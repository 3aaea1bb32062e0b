"""What an answer needs before it begins: its prompt on the host, its limits, and what makes its events."""

from __future__ import annotations

import time
from dataclasses import dataclass

import torch

from omnikit.contracts.types import Sample
from omnikit.inference.answer_events import AnswerEvents
from omnikit.inference.answer_states import AnswerDecoder, answer_states
from omnikit.inference.engine import AnswerOptions
from omnikit.inference.generate import reads_tokens
from omnikit.inference.prefix_cache import PrefixCache, position_keys
from omnikit.inference.scheduler.running_answer import AnswerPlan
from omnikit.inference.session import Session
from omnikit.inference.shared_head import SharedHead
from omnikit.inference.stop_texts import StopTexts
from omnikit.inference.token_choice import TokenOptions
from omnikit.inference.turn_detection import question_turn


@dataclass(frozen=True)
class EngineParts:
    """What an engine's answers have in common: the model, what draws their seeds, and the head they share, if they do."""

    session: Session
    seeds: torch.Generator
    shared: SharedHead | None = None


def plan_answer(parts: EngineParts, sample: Sample, options: AnswerOptions,
                prefix: PrefixCache | None) -> tuple[AnswerPlan, AnswerEvents]:
    """Prepare the answer to a sample's last question.

    Raises:
        DataError: the sample cannot be used, or is longer than the context.
        PlanError: the model cannot answer, or a part of it cannot stream.
    """
    session, start, plan = parts.session, time.perf_counter(), parts.session.plan
    prompt = session.prompt([sample], options.max_new_tokens)
    decoder = AnswerDecoder(prompt.tokenizer, answer_states(plan.template, prompt.tokenizer))
    speech = session.speech_stream(prompt.tokenizer, options.omega, independent=options.independent,
                                   shared=parts.shared) if options.speak else None
    events = AnswerEvents(decoder, speech, start, session.sample_rate, StopTexts(options.stop))
    one_more = speech is not None and any(reads_tokens(output.head) for output in plan.outputs.values())
    keys = position_keys(prompt.batch) if prefix is not None else ()
    modalities = {name: branch.encoder.input.modality for name, branch in plan.inputs.items()}
    return AnswerPlan(prompt.batch, _token_options(session, options, parts.seeds), prompt.ends, prompt.limit, one_more,
                      prompt.tokenizer, question_turn(plan, prompt.batch, sample), prefix, keys, modalities), events


def _token_options(session: Session, options: AnswerOptions, seeds: torch.Generator) -> TokenOptions:
    temperature = session.plan.recipe.generate.temperature if options.temperature is None else options.temperature
    if temperature <= 0:
        return TokenOptions(logprobs=options.logprobs)
    seed = int(torch.randint(2**62, (1,), generator=seeds)) if options.seed is None else options.seed
    generate = session.plan.recipe.generate
    top_p = generate.top_p if options.top_p is None else options.top_p
    return TokenOptions(temperature, top_p, torch.Generator().manual_seed(seed), options.logprobs,
                        top_k=generate.top_k if options.top_k is None else options.top_k)
