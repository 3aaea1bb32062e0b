"""The NAR and AR head's codes per second, at 100 million parameters on one thread, against the plain loop of the original
(transformers' LLaMA layers with a cache that grows, one code at a time) and against the bound of its weights' bytes.

A code takes at least as long as its matrices take to be moved. The limit is the time of a copy of as many bytes in the same
rounds; a sum over them, which reads and does not write, is listed beside it.
"""

import time
from collections.abc import Callable
from dataclasses import replace

import torch
from bench_table import Measures, Ratio, processor_time
from omnikit_vita.nar_ar import NarAr
from omnikit_vita.nar_ar_model import NarArHead, TextEmbeddings
from transformers import DynamicCache, LlamaConfig
from transformers.models.llama.modeling_llama import LlamaDecoderLayer, LlamaRotaryEmbedding

CODES, TEXT, ROUNDS = 40, 40, 4
SIZES = NarAr(dim=896, layers=4, heads=14, ffn=4864, cardinality=1024, top_k=1, max_codes=CODES)
BYTES = {"float32": 4, "bfloat16": 2, "int8": 1}  # of a weight
REAL_TIME = 40  # codes a second
FASTER = 2.0  # times as many codes a second as the plain loop, in 8 bits
BOUND = 1 / 0.7  # times as long as copying the weights takes


def test_codes_per_second_against_the_plain_loop_and_the_bound(measures: Measures) -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    head, text = NarArHead(SIZES, 1, 1024).eval(), TextEmbeddings(torch.randn(1, TEXT, SIZES.dim), torch.tensor([TEXT]))
    plain = Plain(head, text)
    assert codes(plain.begin()) == codes(begin(head, text, "float32")), "both give the same codes"
    ways: dict[str, Callable[[], float]] = {"plain": lambda: seconds(plain.begin())}
    for name, size in BYTES.items():
        weights = torch.zeros(weight_bytes(head, size) // 4)
        other = weights.clone()
        codes(begin(head, text, name))  # which prepares the weights
        ways |= {name: lambda name=name: seconds(begin(head, text, name)),
                 f"reading {name}": processor_time(lambda weights=weights: [weights.sum() for _ in range(CODES)]),
                 f"copying {name}": processor_time(lambda a=other, b=weights: [a.copy_(b) for _ in range(CODES)])}
    costs = measures.compare(
        ways, Ratio("plain loop / int8", "plain", "int8", least=FASTER), Ratio("plain loop / bfloat16", "plain", "bfloat16"),
        Ratio("plain loop / float32", "plain", "float32"),
        *(Ratio(f"{name} / copying its weights", name, f"copying {name}", most=BOUND) for name in BYTES),
        *(Ratio(f"{name} / reading its weights", name, f"reading {name}") for name in BYTES), rounds=ROUNDS)
    for name in ("plain", *BYTES):
        measures.number(f"{name}, codes a second (real time: {REAL_TIME})", CODES / min(costs[name]), "/s")


def weight_bytes(head: NarArHead, size: int) -> int:
    """Give the bytes that a code reads: the matrices of the layers and of the classes, `size` each weight."""
    return size * sum(weight.numel() for part in (head.layers, head.out_fnn) for weight in part.parameters())


Step = Callable[[int], torch.Tensor]  # a code to the logits of the next


@torch.inference_mode()
def codes(step: Step) -> list[int]:
    code, found = 1025, list[int]()  # the start of the codes
    for _ in range(CODES):
        code = int(step(code)[:1024].argmax())
        found.append(code)
    return found


def seconds(step: Step) -> float:
    """Give the processor time of the codes alone; the text has been read."""
    start = time.process_time()
    codes(step)
    return time.process_time() - start


@torch.inference_mode()
def begin(head: NarArHead, text: TextEmbeddings, dtype: str) -> Step:
    head.config = replace(SIZES, inference_dtype=dtype)
    state = head.begin(text, None, CODES + 1)
    return lambda code: head.step(code, state)


class Plain:
    """transformers' layers with the head's weights and a cache that grows."""

    def __init__(self, head: NarArHead, text: TextEmbeddings) -> None:
        self.head, self.text, self.layers = head, text, transformers_own(head)
        self.rotary = LlamaRotaryEmbedding(self.layers[0].config)

    @torch.inference_mode()
    def begin(self) -> Step:
        cache, head = DynamicCache(), self.head
        self.run(torch.cat([head.embedding.weight[head.bos][None, None], head.read(self.text)], 1), cache)
        return lambda code: head.out_fnn(head.norm(self.run(head.embedding(torch.tensor([[code]])), cache)))[0, 0]

    def run(self, x: torch.Tensor, cache: DynamicCache) -> torch.Tensor:
        first = cache.get_seq_length()
        positions = torch.arange(first, first + x.shape[1])[None]
        turned = self.rotary(x, positions)
        mask = None if x.shape[1] == 1 else torch.zeros(1, 1, x.shape[1], x.shape[1])  # the text in both directions
        for layer in self.layers:
            given = layer(x, attention_mask=mask, position_ids=positions, past_key_values=cache, use_cache=True,
                          cache_position=positions[0], position_embeddings=turned)
            x = given[0] if isinstance(given, tuple) else given
        return x


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
