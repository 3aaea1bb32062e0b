"""Writing an answer with our loop against bare `generate` of transformers: the same backbone, prompt and number of tokens.

Rounds of processor time alternate, so that what else the machine does falls out of the ratio.
"""

import torch
from bench_table import Measures, Ratio, processor_time
from omnikit_hf.model import HFBackbone
from transformers import AutoModelForCausalLM, LlamaConfig

from omnikit.contracts.types import Batch
from omnikit.inference.generate import Sampling, generate
from omnikit.model import OmniModel, Taps
from omnikit.plan.plan import make
from omnikit.recipe.compose import compose

TOKENS, PROMPT, ROUNDS, LIMIT = 128, 60, 5, 1.05
SIZES = {"backbone.dim": 256, "backbone.layers": 4, "backbone.heads": 8, "backbone.kv_heads": 4, "backbone.ffn": 704}


def test_decoding_costs_what_transformers_own_costs(measures: Measures) -> None:
    torch.set_num_threads(1)
    model = OmniModel(make(compose("llama_omni/tiny", [f"{name}={value}" for name, value in SIZES.items()])),
                      ["backbone"]).eval()
    batch = prompt()
    bare, inputs = transformers_own(model), Taps(model, batch).inputs.detach()

    def ours() -> list[int]:
        return generate(model, batch, Sampling((), TOKENS)).tokens[0]

    def theirs() -> list[int]:
        with torch.no_grad():
            mask = torch.ones(inputs.shape[:2], dtype=torch.long)
            return list(bare.generate(inputs_embeds=inputs, attention_mask=mask, max_new_tokens=TOKENS, do_sample=False,
                                      eos_token_id=None, pad_token_id=0)[0].tolist())

    assert ours() == theirs(), "both decode the same tokens"

    costs = measures.compare({"ours": processor_time(ours), "bare": processor_time(theirs)},
                             Ratio("decoding / transformers' generate", "ours", "bare", LIMIT), rounds=ROUNDS)
    measures.number("a token", 1000 * min(costs["ours"]) / TOKENS, "ms")


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
