"""The NAR and AR head's codes per second, at 100 million parameters on one thread, against the plain loop of the original:
transformers' LLaMA layers with a cache that grows, one code at a time.

Rounds alternate, and the fastest of each counts, in processor time, so that what else the machine does falls out of the ratio.
At this size a code costs what reading 260 MB of weights costs: a cache that does not grow saves little, 8-bit weights most.
"""

import time
from dataclasses import replace

import torch
from omnikit_vita.nar_ar import NarAr
from omnikit_vita.nar_ar_model import NarArHead, TextEmbeddings
from pytest_benchmark.fixture import BenchmarkFixture
from transformers import DynamicCache, LlamaConfig
from transformers.models.llama.modeling_llama import LlamaDecoderLayer, LlamaRotaryEmbedding

CODES, TEXT, ROUNDS = 40, 40, 3
SIZES = NarAr(dim=896, layers=4, heads=14, ffn=4864, cardinality=1024, top_k=1, max_codes=CODES)
LEAST = 2.0  # times as many codes a second as the plain loop


def test_codes_per_second_against_the_plain_loop(benchmark: BenchmarkFixture) -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    head, text = NarArHead(SIZES, 1, 1024).eval(), TextEmbeddings(torch.randn(1, TEXT, SIZES.dim), torch.tensor([TEXT]))
    layers = transformers_own(head)
    times: dict[str, list[float]] = {"plain": [], "float32": [], "int8": []}

    def timed(name: str) -> list[int]:
        start = time.process_time()
        if name == "plain":
            found = plain(head, layers, text)
        else:
            head.config = replace(SIZES, inference_dtype=name)
            found = ours(head, text)
        times[name].append(time.process_time() - start)
        return found

    assert timed("plain") == timed("float32"), "both give the same codes"
    timed("int8")  # packs the weights
    times = {name: [] for name in times}
    benchmark.pedantic(lambda: [timed(name) for _ in range(ROUNDS) for name in times], rounds=1)
    speed = {name: CODES / min(seconds) for name, seconds in times.items()}
    numbers = {f"{name}_ratio": round(speed[name] / speed["plain"], 3) for name in ("float32", "int8")}
    benchmark.extra_info.update(numbers | {f"{name}_codes_per_second": round(value, 1) for name, value in speed.items()})
    print(f"\ncodes a second: {', '.join(f'{name} {value:.1f}' for name, value in speed.items())}; ratios {numbers}")
    assert numbers["int8_ratio"] >= LEAST


@torch.inference_mode()
def ours(head: NarArHead, text: TextEmbeddings) -> list[int]:
    state, code, found = head.begin(text, None, CODES + 1), head.sos, []
    for _ in range(CODES):
        code = int(head.step(code, state)[:1024].argmax())
        found.append(code)
    return found


@torch.no_grad()
def plain(head: NarArHead, layers: torch.nn.ModuleList, text: TextEmbeddings) -> list[int]:
    """Generate codes with transformers' layers, the same weights and a cache that grows."""
    cache, rotary = DynamicCache(), LlamaRotaryEmbedding(layers[0].config)

    def run(x: torch.Tensor, first: int) -> torch.Tensor:
        positions = torch.arange(first, first + x.shape[1])[None]
        turned = rotary(x, positions)
        for layer in layers:
            given = layer(x, attention_mask=None, position_ids=positions, past_key_values=cache, use_cache=True,
                          cache_position=positions[0], position_embeddings=turned)
            x = given[0] if isinstance(given, tuple) else given
        return x

    run(torch.cat([head.embedding.weight[head.bos][None, None], head.read(text)], 1), 0)
    code, found = head.sos, []
    for index in range(CODES):
        hidden = run(head.embedding(torch.tensor([[code]])), 1 + TEXT + index)
        code = int(head.out_fnn(head.norm(hidden))[0, 0, :1024].argmax())
        found.append(code)
    return found


def transformers_own(head: NarArHead) -> torch.nn.ModuleList:
    """Give transformers' layers with the same weights."""
    config = LlamaConfig(hidden_size=SIZES.dim, intermediate_size=SIZES.ffn, num_hidden_layers=SIZES.layers,
                         num_attention_heads=SIZES.heads, num_key_value_heads=SIZES.heads, vocab_size=1028,
                         rms_norm_eps=SIZES.rms_eps, attn_implementation="eager")
    layers = torch.nn.ModuleList(LlamaDecoderLayer(config, index) for index in range(SIZES.layers)).eval()
    for layer, own in zip(layers, head.layers, strict=True):
        layer.load_state_dict(own.state_dict())
    layers[0].config = config
    return layers
