"""Writing an answer with our loop against bare `generate` of transformers: the same backbone, prompt and number of tokens.

Rounds alternate, and the fastest of each counts, in processor time, so that what else the machine does falls out of the ratio.
"""

import time

import torch
from omnikit_hf.model import HFBackbone
from pytest_benchmark.fixture import BenchmarkFixture
from transformers import AutoModelForCausalLM, LlamaConfig

from omnikit.contracts.types import Batch
from omnikit.inference.generate import Sampling, generate
from omnikit.model import OmniModel, Taps
from omnikit.plan.plan import make
from omnikit.recipe.compose import compose

TOKENS, PROMPT, ROUNDS, LIMIT = 128, 60, 5, 1.05
SIZES = {"backbone.dim": 256, "backbone.layers": 4, "backbone.heads": 8, "backbone.kv_heads": 4, "backbone.ffn": 704}


def test_decoding_costs_what_transformers_own_costs(benchmark: BenchmarkFixture) -> None:
    torch.set_num_threads(1)
    model = OmniModel(make(compose("llama_omni/tiny", [f"{name}={value}" for name, value in SIZES.items()])),
                      ["backbone"]).eval()
    batch = prompt()
    bare, inputs = transformers_own(model), Taps(model, batch).inputs.detach()
    times: dict[str, list[float]] = {"ours": [], "bare": []}

    def ours() -> list[int]:
        return generate(model, batch, Sampling((), TOKENS)).tokens[0]

    def theirs() -> list[int]:
        with torch.no_grad():
            mask = torch.ones(inputs.shape[:2], dtype=torch.long)
            return list(bare.generate(inputs_embeds=inputs, attention_mask=mask, max_new_tokens=TOKENS, do_sample=False,
                                      eos_token_id=None, pad_token_id=0)[0].tolist())

    assert ours() == theirs(), "both decode the same tokens"

    def rounds() -> None:
        for _ in range(ROUNDS):
            for name, call in (("ours", ours), ("bare", theirs)):
                start = time.process_time()
                call()
                times[name].append(time.process_time() - start)

    benchmark.pedantic(rounds, rounds=1)
    ratio = min(times["ours"]) / min(times["bare"])
    numbers = {"ratio": round(ratio, 4), "token_ms": round(1000 * min(times["ours"]) / TOKENS, 2)}
    benchmark.extra_info.update(numbers)
    print(f"\ndecoding, ours / transformers: {ratio:.3f}, {numbers['token_ms']} ms a token")
    assert ratio <= LIMIT


def prompt() -> Batch:
    """Ids at random, no signal."""
    tokens = torch.randint(20, 600, (1, PROMPT), generator=torch.Generator().manual_seed(0))
    none = torch.zeros(1, 0, dtype=torch.int64)
    return Batch(tokens, torch.tensor([PROMPT]), none, torch.tensor([0]), {}, {}, {}, {}, {}, ["prompt"])


def transformers_own(model: OmniModel) -> torch.nn.Module:
    """Give transformers' model with the same weights."""
    backbone = model.get_submodule("backbone")
    assert isinstance(backbone, HFBackbone)
    config = backbone.model.config
    assert isinstance(config, LlamaConfig)
    bare = AutoModelForCausalLM.from_config(config)
    bare.load_state_dict(backbone.state_dict())
    return bare.eval()
