"""A branch that takes no signal: its vectors stand where a row has a part of type prompt."""

from dataclasses import replace
from pathlib import Path

import torch
from doubles import make_plan, write_tokenizer
from omnikit_basics.prompts import Prompt, PromptEmbeddings
from vision_doubles import make_row, spoken_question

from omnikit.contracts.types import ContentPart
from omnikit.data.batch.collate import Collator
from omnikit.model import OmniModel
from omnikit.plan.plan import InputBranch, Plan
from omnikit.taps import Taps


def with_prompts(folder: Path) -> Plan:
    plan, place, learned = make_plan(write_tokenizer(folder)), Prompt(), PromptEmbeddings(3)
    input_branch = InputBranch("task", place, place.output, learned, learned.output(place.output, plan.backbone.dim))
    return replace(plan, inputs={**plan.inputs, "task": input_branch})


def test_prompts_stand_where_the_row_has_them(tmp_path: Path) -> None:
    plan = with_prompts(tmp_path)
    rows = [make_row(ContentPart("prompt"), spoken_question("two")), make_row(spoken_question("two")),
            make_row(ContentPart("text", text="one"), ContentPart("prompt"))]
    batch = Collator(plan, ["text", "transcript"])(rows)
    assert (batch.counts["task"], batch.rows["task"]) == ([3, 3], [0, 2])
    taps = Taps(OmniModel(plan), batch)
    vectors = taps.inputs.flatten(0, 1)[batch.slots["task"]]
    torch.testing.assert_close(vectors, taps.model.projector("task").prompt_embeddings.repeat(2, 1))
