"""An answer about an image: a composed LLaVA-1.5 against transformers' `LlavaForConditionalGeneration`, the same weights."""

from pathlib import Path

import numpy as np
import torch
from bench_table import Measures, Ratio, processor_time
from llava import inputs, made, of_omnikit, of_transformers, plan_of

from omnikit.data.batch.collate import Collator
from omnikit.inference.generate import Sampling, generate

TOKENS, ROUNDS, LIMIT = 96, 5, 1.05


def test_answering_costs_what_transformers_own_costs(measures: Measures, tmp_path: Path) -> None:
    torch.set_num_threads(1)
    plan = plan_of(tmp_path, steps=1, batch=1)
    model, bare = of_omnikit(plan).eval(), of_transformers().eval()
    row = made(0, 1, np.random.default_rng(0))
    batch = Collator(plan, ["text"])([row])
    question = Collator(plan, ["text"], prompt_only=True)([row])
    given = inputs(plan, batch)
    prompt = int(batch.answers[0, 0])
    ids, mask = given["input_ids"][:, :prompt], given["attention_mask"][:, :prompt]

    def ours() -> list[int]:
        return generate(model, question, Sampling((), TOKENS)).tokens[0]

    def theirs() -> list[int]:
        found = bare.generate(input_ids=ids, attention_mask=mask, pixel_values=given["pixel_values"], max_new_tokens=TOKENS,
                              do_sample=False, eos_token_id=None, pad_token_id=0)
        return [int(token) for token in found[0, prompt:]]

    assert ours() == theirs(), "both answer with the same tokens"
    measures.compare({"ours": processor_time(ours), "bare": processor_time(theirs)},
                     Ratio("an answer about an image / transformers' generate", "ours", "bare", LIMIT), rounds=ROUNDS)
