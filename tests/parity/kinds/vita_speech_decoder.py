"""VITA-1.5's speech decoder, with and without a prefix of hidden states: taught, and speaking greedily."""

from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F
from omnikit_vita.nar_ar import NarAr
from omnikit_vita.nar_ar_model import NarArHead, TextEmbeddings
from parity.case import Case, ReplayError
from torch import Tensor

from omnikit.contracts.types import Features, Targets

IGNORED = -1  # in a case's codes


def matches(case: Case) -> bool:
    return any(name.startswith("layers_pre_nn.") for name in case.weights) and "tf_hidden" in case.inputs


def replay(case: Case) -> None:
    head = built(case)
    teach(case, head)
    for facts in case.words_out.get("generations", []):
        speak(case, head, facts)


def built(case: Case) -> NarArHead:
    """Give the case's head with its weights."""
    sizes = case.config["model_args"]
    if sizes["idim"] != sizes["transformer_attention_dim"]:
        raise ReplayError("its idim is not its transformer_attention_dim, which the head cannot have")
    llama = case.config.get("llama", {})
    config = NarAr(dim=sizes["transformer_attention_dim"], layers=sizes["transformer_num_blocks"],
                   heads=sizes["transformer_attention_heads"], ffn=sizes["transformer_linear_units"],
                   prefix=bool(sizes.get("kv_cache_prefix_finetune")), rms_eps=llama.get("rms_norm_eps", 1e-6),
                   rope_theta=llama.get("rope_theta", 1e4))
    head = NarArHead(config, 1, sizes["odim"]).eval()
    head.load_state_dict(case.weights)
    return head


def teach(case: Case, head: NarArHead) -> None:
    limits = {"atol": case.limit("logits", "atol", 5e-4), "rtol": case.limit("logits", "rtol", 1e-3)}
    ids, lengths = case.inputs["tf_codes"], case.inputs["tf_code_lens"]
    text = TextEmbeddings(case.inputs["tf_hidden"], case.inputs["tf_hidden_lens"])
    prefix = TextEmbeddings(case.inputs["tf_prefix"], case.inputs["tf_prefix_lens"]) if "tf_prefix" in case.inputs else None
    given = F.pad(ids.masked_fill(ids == IGNORED, head.pad), (1, 0), value=head.sos)
    logits = head(text, given, prefix, padded=True)
    case.close("tf_pre_nn_out", valid(head.read(text), text.lengths, case.outputs["tf_pre_nn_out"]), **limits)
    case.close("tf_logits", valid(logits, lengths + 1, case.outputs["tf_logits"]), **limits)
    wanted = F.pad(ids.masked_fill(ids == IGNORED, -100), (0, 1), value=-100).scatter(1, lengths[:, None], head.eos)
    loss = F.cross_entropy(logits.flatten(0, 1), wanted.flatten(), reduction="sum")
    case.close("tf_loss_sum", loss, **limits)
    # our own loss numbers a row's codes behind its own text: only of a row without padding the original's is known
    row = int(text.lengths.argmax())
    if prefix is None and int(text.lengths[row]) == text.data.shape[1]:
        count = lengths[row:row + 1]
        ours = head.loss(full_length(text.data[row:row + 1]), Targets(ids[row:row + 1, :int(count), None], count))
        theirs = case.outputs["tf_logits"][row, :int(count) + 1]
        case.close("tf_loss of one row", ours, expected=F.cross_entropy(theirs, wanted[row, :int(count) + 1]), **limits)


def valid(found: Tensor, lengths: Tensor, expected: Tensor) -> Tensor:
    """Give [B, T, D] with the expected values at padding, where ours are undefined."""
    positions = torch.arange(found.shape[1]) < lengths[:, None]
    return torch.where(positions[..., None], found, expected)


def speak(case: Case, head: NarArHead, facts: dict[str, Any]) -> None:
    limits = {"atol": case.limit("logits", "atol", 5e-4), "rtol": case.limit("logits", "rtol", 1e-3)}
    name = f"gen{facts['index']}"
    text, prefix = full_length(case.inputs[f"{name}_hidden"]), case.inputs.get(f"{name}_prefix")
    window = facts.get("penalty_window_size", -1)
    head.config = replace(head.config, top_k=facts.get("top_k", 1), repetition_window=max(window, 0),
                          repetition_penalty=facts.get("penalty", 1.0),
                          repetition_mode="original", max_codes=facts["max_tokens"])
    utterance = head.speak(text, None if prefix is None else full_length(prefix))
    case.equal(f"generations[{facts['index']}] tokens", [code for code, in utterance], facts["tokens"])
    case.equal(f"generations[{facts['index']}] stopped_by_eos", not utterance.cut, facts["stopped_by_eos"])
    case.close(f"{name}_pre_nn_out", head.read(TextEmbeddings(text.data, text.lengths)), **limits)
    expected = case.outputs[f"{name}_logits_first16"]
    hidden = None if prefix is None else TextEmbeddings(prefix, full_length(prefix).lengths)
    state = head.begin(TextEmbeddings(text.data, text.lengths), hidden, len(expected))
    given = [head.sos, *facts["tokens"]][:len(expected)]
    case.close(f"{name}_logits_first16", torch.stack([head.step(code, state) for code in given]), **limits)


def full_length(data: Tensor) -> Features:
    return Features(data, torch.full((len(data),), data.shape[1]))
