"""A case of LLaMA-Omni's kind with sizes of its own, made with transformers' modules: another implementation than ours.

Conditions that the stored case lacks: two clips in a question, clips whose silence is masked, a row without a clip in the
batch, units that stretch the frames, other factors everywhere, an end among several.
"""

import json
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor, nn
from transformers import LlamaConfig, LlamaForCausalLM, LlamaModel, WhisperConfig
from transformers.models.whisper.modeling_whisper import WhisperEncoder

LLM = {"vocab_size": 90, "hidden_size": 48, "intermediate_size": 64, "num_hidden_layers": 3, "num_attention_heads": 6,
       "num_key_value_heads": 3, "max_position_embeddings": 256, "rope_theta": 10000.0, "rms_norm_eps": 1e-6,
       "tie_word_embeddings": False, "bos_token_id": 3, "eos_token_id": 7, "pad_token_id": 0}
OMNI = {"speech_encoder_ds_rate": 4, "speech_generator_type": "ctc", "ctc_decoder_config": "(3,32,4,40)",
        "ctc_upsample_factor": 6, "ctc_loss_weight": 0.5, "unit_vocab_size": 17}
WHISPER = {"n_mels": 80, "ctx": 30, "state": 24, "heads": 3, "layers": 1}
OPENAI = {"self_attn.q_proj": "attn.query", "self_attn.k_proj": "attn.key", "self_attn.v_proj": "attn.value",
          "self_attn.out_proj": "attn.out", "self_attn_layer_norm": "attn_ln", "fc1": "mlp.0", "fc2": "mlp.2",
          "final_layer_norm": "mlp_ln", "layers.": "blocks.", "embed_positions.weight": "positional_embedding"}
ASKED = [5, 6, -200, 8, 9, -200, 11, 12]
TAUGHT = [[5, -200, 6, 20, 21, 22], [5, 6, 8, 23, 24, 0], [5, -200, -200, 30, 31, 0], [4, 3, 2, 40, 41, 0]]
LABELLED = [3, 2, 2, 2]  # ids at the end of each row of TAUGHT (without its padding) that are labels
UNITS = [[*range(1, 17), 0, 1, 2, 3, 4], [3, 4, 3], [1, 0, 5, 5], [2] * 13]
"""For 3, 2, 2 and 2 states of 6 frames each: the first row's frames are stretched, the last row's units are out of reach."""
TOKENS = 9


class Original(nn.Module):
    """The whole system under transformers' names; random weights, norms included."""

    def __init__(self) -> None:
        super().__init__()
        self.llm = LlamaForCausalLM(LlamaConfig(**LLM))
        self.encoder = WhisperEncoder(WhisperConfig(
            d_model=WHISPER["state"], encoder_attention_heads=WHISPER["heads"], encoder_layers=WHISPER["layers"],
            encoder_ffn_dim=4 * WHISPER["state"], num_mel_bins=WHISPER["n_mels"], max_source_positions=WHISPER["ctx"]))
        self.linear1, self.linear2 = nn.Linear(4 * WHISPER["state"], 2048), nn.Linear(2048, LLM["hidden_size"])
        self.input_proj, self.output_proj = nn.Linear(LLM["hidden_size"], 32), nn.Linear(32, OMNI["unit_vocab_size"] + 1)
        own = {"vocab_size": 1, "bos_token_id": 0, "eos_token_id": 0, "hidden_size": 32, "num_hidden_layers": 3,
               "num_attention_heads": 4, "num_key_value_heads": 4, "intermediate_size": 40}
        self.decoder = LlamaModel(LlamaConfig(**{**LLM, **own}))
        self.decoder.norm = nn.Identity()
        for parameter in self.parameters():
            parameter.data = parameter.data + 0.3 * torch.randn_like(parameter) / parameter.shape[-1] ** 0.5
        self.output_proj.weight.data *= 4

    def named(self) -> dict[str, Tensor]:
        """Give the weights under LLaMA-Omni's names."""
        found = {name: tensor for name, tensor in self.llm.state_dict().items() if "rotary" not in name}
        for name, tensor in self.encoder.state_dict().items():
            name = f"{name}" if not name.startswith("layer_norm.") else name.replace("layer_norm", "ln_post")
            for theirs, openai in OPENAI.items():
                name = name.replace(theirs, openai)
            found[f"model.speech_encoder.{name}"] = tensor
        found |= {f"speech_generator.{name}": tensor for name, tensor in self.decoder.state_dict().items()
                  if name.startswith("layers.")}
        for path, stem in (("linear", "model.speech_projector."), ("proj", "speech_generator.")):
            found |= {f"{stem}{name}": tensor for name, tensor in self.state_dict().items()
                      if path in name.partition(".")[0] and "." not in name.partition(".")[2]}
        return {name: tensor.detach().clone().contiguous() for name, tensor in found.items()}

    def encode_clips(self, mel: Tensor, frames: Tensor) -> tuple[Tensor, Tensor, list[Tensor]]:
        encoded = self.encoder(mel.transpose(1, 2)).last_hidden_state
        runs = encoded.shape[1] // 4
        projected = self.linear2(F.relu(self.linear1(encoded[:, :runs * 4].reshape(len(mel), runs, -1))))
        return encoded, projected, [row[:(int(n) + 1) // 2 // 4] for row, n in zip(projected, frames.flatten(), strict=True)]

    def spliced(self, ids: list[int], clips: list[Tensor]) -> Tensor:
        """Take clips from the front of the list, one at least."""
        rows, used = [], 0
        for token in ids:
            rows.append(clips[used] if token == -200 else self.llm.model.embed_tokens(torch.tensor([token])))
            used += token == -200
        del clips[:max(used, 1)]
        return torch.cat(rows)

    def classes(self, states: Tensor, frames: int) -> tuple[Tensor, Tensor]:
        """States [M, D] to logits [T, units + 1] and the copied states [T, D]."""
        place = (torch.arange(frames) / (torch.tensor(frames) / torch.tensor(len(states)))).long()
        hidden = self.decoder(inputs_embeds=self.input_proj(states[place])[None]).last_hidden_state
        return self.output_proj(hidden)[0], states[place]


def units_of(classes: list[int], blank: int) -> list[int]:
    return [c for i, c in enumerate(classes) if c != blank and (not i or classes[i - 1] != c)]


@torch.no_grad()
def make(folder: Path) -> Path:
    """Write the case."""
    torch.manual_seed(5)
    model = Original().eval()
    inputs: dict[str, Tensor] = {
        "input_ids": torch.tensor([ASKED]), "mel": torch.randn(2, 60, 80), "mel_lengths": torch.tensor([[60], [41]]),
        "train_input_ids": torch.tensor(TAUGHT), "train_mel": torch.randn(5, 60, 80),
        "train_mel_lengths": torch.tensor([[60], [60], [33], [50], [60]]),
        "train_attention_mask": (torch.tensor(TAUGHT) != 0).to(torch.uint8)}
    words: dict[str, Any] = {}
    encoded, projected, clips = model.encode_clips(inputs["mel"], inputs["mel_lengths"])
    outputs = {"a_encoder_out": encoded, "a_projector_out": projected, "a_speech_features": torch.cat(clips)}
    answer(model, model.spliced(ASKED, clips), outputs, words)
    stream(model, outputs["d_hidden_states_for_units"], words)
    learn(model, inputs, outputs)
    folder.mkdir(parents=True)
    save_file(model.named(), folder / "weights.safetensors")
    save_file({name: tensor.contiguous() for name, tensor in inputs.items()}, folder / "inputs.safetensors")
    save_file({name: tensor.contiguous() for name, tensor in outputs.items()}, folder / "outputs.safetensors")
    (folder / "outputs.json").write_text(json.dumps(words))
    (folder / "case.json").write_text(json.dumps({
        "system": "LLaMA-Omni", "module": "OmniSpeech2SLlamaForCausalLM, other sizes", "seed": 5,
        "config": {"llm": {**LLM, **OMNI}, "whisper_encoder": WHISPER, "blank": OMNI["unit_vocab_size"]},
        "tolerance": {"hidden": "atol 1e-4", "logits": "atol 2e-4", "ctc_logits": "atol 1e-3", "ids": "exact",
                      "losses": "stage 1 rtol 1e-5, CTC rtol 1e-4"}}))
    return folder


def answer(model: Original, embedded: Tensor, outputs: dict[str, Tensor], words: dict[str, Any]) -> None:
    """Decode greedily, from scratch for each token, then give the codes of the complete answer."""
    result = model.llm(inputs_embeds=embedded[None], output_hidden_states=True)
    outputs |= {"b_inputs_embeds": embedded[None], "b_last_hidden_state": result.hidden_states[-1], "b_logits": result.logits}
    ids, states = [], []
    for _ in range(TOKENS):
        result = model.llm(inputs_embeds=embedded[None], output_hidden_states=True)
        states.append(result.hidden_states[-1][0, -1])
        ids.append(int(result.logits[0, -1].argmax()))
        embedded = torch.cat([embedded, model.llm.model.embed_tokens(torch.tensor(ids[-1:]))])
    stacked = torch.stack(states)
    factor, blank = OMNI["ctc_upsample_factor"], OMNI["unit_vocab_size"]
    logits, copied = model.classes(stacked, factor * len(stacked))
    best = logits.argmax(-1)
    outputs |= {"c_generated_ids": torch.tensor([ids]), "d_hidden_states_for_units": stacked, "d_upsampled_input": copied,
                "d_ctc_logits": logits, "d_ctc_argmax": best[None], "d_units": torch.tensor(units_of(best.tolist(), blank))}
    end = max(ids.index(token) for token in ids)  # the last place where an id comes for the first time
    words["with_eos"] = {"eos_token_id": ids[end], "generated_ids": ids[:end + 1], "n_ctc_frames": factor * (end + 1),
                         "units": units_of(best[:factor * (end + 1)].tolist(), blank)}


def stream(model: Original, states: Tensor, words: dict[str, Any]) -> None:
    """Give the codes of the complete answer from scratch after each token, as the original does; what is beyond the units
    before is new."""
    factor, blank, emitted, each = OMNI["ctc_upsample_factor"], OMNI["unit_vocab_size"], 0, []
    for count in range(1, len(states) + 1):
        units = units_of(model.classes(states[:count], factor * count)[0].argmax(-1).tolist(), blank)
        each.append(units[emitted:])
        emitted = len(units)
    chunks: dict[str, list[dict[str, Any]]] = {}
    for size in (1, 3, 7):
        pending: list[int] = []
        found = chunks.setdefault(str(size), [])
        for number, new in enumerate(each):
            pending += new
            if len(pending) >= size:
                found.append({"after_token": number, "units": pending})
                pending = []
        if pending:
            found.append({"after_token": len(each) - 1, "flush": True, "units": pending})
    words["streaming"] = {"new_units_after_each_token": each, "chunks": chunks, "equal_to_offline": True}


def learn(model: Original, inputs: dict[str, Tensor], outputs: dict[str, Tensor]) -> None:
    """Both losses by their formulas, row by row."""
    factor, blank = OMNI["ctc_upsample_factor"], OMNI["unit_vocab_size"]
    _, _, clips = model.encode_clips(inputs["train_mel"], inputs["train_mel_lengths"])
    entropy, alignments, labels = [], [], torch.full((len(TAUGHT), len(TAUGHT[0])), -100)
    for row, (ids, count) in enumerate(zip(TAUGHT, LABELLED, strict=True)):
        tokens = [token for token in ids if token]
        labels[row, len(tokens) - count:len(tokens)] = torch.tensor(tokens[-count:])
        result = model.llm(inputs_embeds=model.spliced(tokens, clips)[None], output_hidden_states=True)
        entropy += F.cross_entropy(result.logits[0, -count - 1:-1], torch.tensor(tokens[-count:]), reduction="none").tolist()
        frames = max(factor * count, len(UNITS[row]))
        scores = model.classes(result.hidden_states[-1][0, -count:], frames)[0].log_softmax(-1)
        alignments.append(F.ctc_loss(scores[:, None], torch.tensor([UNITS[row]]), [frames], [len(UNITS[row])], blank, "sum",
                                     zero_infinity=True))
    longest = max(map(len, UNITS))
    inputs["train_labels"] = labels
    inputs["train_tgt_units"] = torch.tensor([[*row, *[-100] * (longest - len(row))] for row in UNITS])
    first = torch.tensor(entropy).mean()
    second = torch.stack(alignments).sum() / sum(map(len, UNITS))
    both = first + OMNI["ctc_loss_weight"] * second
    outputs |= {"f_stage1_ce_loss": first, "f_stage2_ctc_loss": second, "f_joint_loss": both}
