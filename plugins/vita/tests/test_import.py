"""VITA's published files read and written, in the sizes of two recorded models; what is broken is refused in one sentence."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import yaml
from omnikit_vita import experts, names
from omnikit_vita.layout import Vita
from parity.case import Case
from parity.kinds import vita_full
from safetensors.torch import load_file, save_file
from torch import Tensor

from omnikit.cli import main
from omnikit.errors import RunError
from omnikit.model import OmniModel
from omnikit.plan.plan import make
from omnikit.recipe.recipe import parse
from omnikit.store.tensors import in_memory
from omnikit.store.tokenizer_files import copy_tokenizer

GOLDENS = Path(__file__).parents[3] / "tests" / "parity" / "goldens"
Weights = dict[str, Tensor]


@pytest.fixture(params=["vita15_full_model", "vita10_full_model"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return published(request.param, tmp_path)


@pytest.fixture
def qwen(tmp_path: Path) -> Path:
    return published("vita15_full_model", tmp_path)


def published(case: str, at: Path) -> Path:
    vita_full.write(Case(GOLDENS / case, at), at / "vita")
    return at / "vita"


def weights(folder: Path) -> Weights:
    return load_file(folder / "model.safetensors")


def rewrite(folder: Path, change: Callable[[Weights], object]) -> None:
    tensors = weights(folder)
    change(tensors)
    save_file(tensors, folder / "model.safetensors")


def settle(path: Path, **values: object) -> None:
    """Change keys of a config.json."""
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


def read(source: Vita) -> dict[str, Tensor]:
    return {f"{part}.{name}": tensor.read() for part, named in source.open().tensors.items() for name, tensor in named.items()}


def assert_same(one: Weights, two: Weights) -> None:
    assert one.keys() == two.keys()
    assert [name for name in one if not torch.equal(one[name], two[name]) or one[name].dtype != two[name].dtype] == []


# ---- names, experts ----


def test_names_go_there_and_back(folder: Path) -> None:
    found = [name for name in weights(folder) if not names.EXPERT.fullmatch(name)]
    assert all(names.to_checkpoint(*(names.of_checkpoint(name) or ("", ""))) == name for name in found)


def test_experts_multiply_as_published(tmp_path: Path) -> None:
    """Source of the rule: Mixtral's w2(silu(w1 x) * w3 x)."""
    found = weights(published("vita10_full_model", tmp_path))
    source = Vita(str(tmp_path / "vita")).open().tensors["backbone"]
    stem, x = "model.layers.1.block_sparse_moe.experts.3", torch.linspace(-1, 1, 48)
    w1, w2, w3 = (found[f"{stem}.{word}.weight"] for word in ("w1", "w2", "w3"))
    both = source["model.layers.1.mlp.experts.gate_up_proj"].read()[3] @ x
    gate, up = both.chunk(2)
    ours = source["model.layers.1.mlp.experts.down_proj"].read()[3] @ (torch.nn.functional.silu(gate) * up)
    torch.testing.assert_close(ours, w2 @ (torch.nn.functional.silu(w1 @ x) * (w3 @ x)))
    back = experts.apart(source)
    assert all(torch.equal(back[f"{stem}.{word}.weight"].read(), found[f"{stem}.{word}.weight"]) for word in ("w1", "w2", "w3"))


# ---- layouts ----


def test_an_encoder_that_lies_in_final_pt_is_the_same(folder: Path) -> None:
    whole = read(Vita(str(folder)))
    tensors = {name: tensor for name, tensor in weights(folder).items() if name.startswith(names.AUDIO)}
    torch.save({name.removeprefix(names.AUDIO): tensor for name, tensor in tensors.items()}, folder / "audio-encoder/final.pt")
    rewrite(folder, lambda found: [found.pop(name) for name in tensors])
    assert_same(read(Vita(str(folder))), whole)


def test_projectors_alone_lie_over_their_base(qwen: Path, tmp_path: Path) -> None:
    alone = tmp_path / "alone"
    alone.mkdir()
    found = weights(qwen)
    for file, word in (("mm_projector.bin", "mm_projector."), ("audio_adpter.bin", "audio_encoder.adpter.")):
        torch.save({f"base_model.{name}": tensor + 1 for name, tensor in found.items() if word in name}, alone / file)
    base = read(Vita(str(qwen)))
    laid = read(Vita(str(alone), audio=str(qwen / "audio-encoder"), vision=str(qwen / "InternViT"), base=str(qwen)))
    projectors = ("vision.projector.", "audio.projector.")
    assert_same(laid, {name: tensor + name.startswith(projectors) for name, tensor in base.items()})


def test_an_adapter_and_what_was_trained_beside_it_lie_over_their_base(qwen: Path, tmp_path: Path) -> None:
    folder, base = tmp_path / "adapter", weights(qwen)
    folder.mkdir()
    name = next(name for name in base if name.endswith("layers.0.self_attn.q_proj.weight"))
    pair = {"A": torch.randn(2, base[name].shape[1]), "B": torch.randn(base[name].shape[0], 2)}
    stem = f"base_model.model.{name.removesuffix('.weight')}"
    save_file({f"{stem}.lora_{role}.weight": tensor for role, tensor in pair.items()}, folder / "adapter_model.safetensors")
    (folder / "adapter_config.json").write_text(json.dumps({"peft_type": "LORA", "r": 2, "lora_alpha": 6}))
    beside = next(name for name in base if "mm_projector" in name)
    torch.save({f"base_model.model.{beside}": base[beside] + 1}, folder / "non_lora_trainables.bin")
    settings = {"audio": str(qwen / "audio-encoder"), "vision": str(qwen / "InternViT")}
    plain, found = (read(Vita(str(at), **settings, **extra)) for at, extra in ((qwen, {}), (folder, {"base": str(qwen)})))
    expected = plain["backbone.model.layers.0.self_attn.q_proj.weight"].float() + 3.0 * pair["B"] @ pair["A"]
    layer = found.pop("backbone.model.layers.0.self_attn.q_proj.weight").float()
    torch.testing.assert_close(layer, expected, atol=0.02, rtol=0.01)  # stored in halves
    moved = [key for key, tensor in found.items() if not torch.equal(tensor, plain[key])]
    assert len(moved) == 1 and moved[0].startswith("vision.projector.")
    with pytest.raises(RunError, match=r"holds a LoRA adapter, but base is None, which is not a folder; give the folder"):
        read(Vita(str(folder), **settings))



@pytest.mark.parametrize("text", [
    json.dumps({"mean_stat": [4.0] * 80, "var_stat": [40.0] * 80, "frame_num": 4}),
    f"[ {'4 ' * 80}4\n {'40 ' * 80}0 ]"], ids=["json", "kaldi"])
def test_statistics_come_from_their_file_where_the_checkpoint_has_none(qwen: Path, text: str) -> None:
    (qwen / "audio-encoder" / "global_cmvn").write_text(text)
    rewrite(qwen, lambda found: [found.pop(name) for name in list(found) if "global_cmvn" in name])
    found = read(Vita(str(qwen)))
    assert set(found["audio.encoder.normalisation.mean"].tolist()) == {1.0}
    torch.testing.assert_close(found["audio.encoder.normalisation.istd"], torch.full((80,), 1 / 3))  # variance 10 - 1


def test_rows_that_the_tokenizer_does_not_fill_stay(qwen: Path) -> None:
    def grow(found: Weights) -> None:
        for name in ("model.embed_tokens.weight", "lm_head.weight"):
            found[name] = torch.cat([found[name], torch.ones(8, 64)])

    rewrite(qwen, grow)
    backbone = Vita(str(qwen)).recipe()["backbone"]
    assert isinstance(backbone, dict) and backbone["vocabulary"] == 328  # the tokenizer has 320


@pytest.mark.parametrize(("message", "ours"), [
    ({"chunk_size": 4, "left_chunks": 16}, (4, 16, "never")), ({"chunk_size": -1, "left_chunks": 16}, (None, None, "never")),
    ({"chunk_size": 4, "left_chunks": -1}, (4, None, "never")), ({"dynamic-chunks": True}, (None, None, "training"))], ids=str)
def test_chunks_follow_train_yaml(qwen: Path, message: dict[str, object], ours: tuple[object, ...]) -> None:
    path = qwen / "audio-encoder" / "train.yaml"
    settings = yaml.safe_load(path.read_text())
    settings["encoder_conf"]["para_conf"]["transformer"] |= {f"transformer-{key}": value for key, value in message.items()}
    path.write_text(yaml.safe_dump(settings))
    audio = Vita(str(qwen)).recipe()["audio"]
    assert isinstance(audio, dict)
    assert tuple(audio["encoder"][key] for key in ("chunk_size", "left_chunks", "dynamic")) == ours


def train_yaml(folder: Path, section: str, values: dict[str, object]) -> None:
    path = folder / "audio-encoder" / "train.yaml"
    found = yaml.safe_load(path.read_text())
    at = found["model_conf"] if section == "model_conf" else found["encoder_conf"]["para_conf"][section]
    at.update(values)
    path.write_text(yaml.safe_dump(found))


def test_learned_audio_prompts_are_imported(qwen: Path) -> None:
    prompts = torch.randn(5, 64, generator=torch.Generator().manual_seed(2))
    rewrite(qwen, lambda found: found.update({names.PROMPTS: prompts}))
    train_yaml(qwen, "model_conf", {"audio_prompt_finetune": True, "audio_prompt_num": 5})
    plan = make(parse(Vita(str(qwen)).recipe(), "imported"))
    assert (plan.parts()["audio.projector"].prompts, plan.inputs["audio"].length(16000)) == (5, 12 + 5)
    model = OmniModel(plan, ["audio.projector"])
    assert torch.equal(read(Vita(str(qwen)))["audio.projector.prompts"], prompts)
    assert dict(model.named_parameters())["audio.projector.prompts"].shape == (5, 64)


def absolute(found: Weights) -> None:
    """Leave out what relative positions have."""
    for name in [name for name in found if re.search(r"linear_pos|pos_bias_[uv]", name)]:
        found.pop(name)


def test_an_encoder_with_absolute_positions_is_imported(qwen: Path) -> None:
    """Sines are added to the frames times the root of their width (WeNet's PositionalEncoding)."""
    rewrite(qwen, absolute)
    train_yaml(qwen, "transformer", {"transformer-pos-enc-class": "abs-enc"})
    model = OmniModel(make(parse(Vita(str(qwen)).recipe(), "imported")), ["audio.encoder"])
    encoder = model.get_submodule("audio.encoder").eval()
    tensors = {name.removeprefix("audio.encoder."): tensor for name, tensor in read(Vita(str(qwen))).items()
               if name.startswith("audio.encoder.")}
    encoder.load_state_dict(tensors)
    x = torch.randn(1, 7, 32, generator=torch.Generator().manual_seed(1))
    angles = torch.arange(7)[:, None] / 10000 ** (torch.arange(0, 32, 2) / 32)
    table = torch.stack([angles.sin(), angles.cos()], dim=2).flatten(1)
    torch.testing.assert_close(encoder.place(x, 0), encoder.embed(x) * 32**0.5 + table)
    assert encoder.config.positions == "absolute_scaled" and encoder.config.heads == 2


@pytest.mark.parametrize(("section", "values", "words"), [
    ("model_conf", {"audio_prompt_finetune": True, "audio_prompt_num": 5}, "5, but the checkpoint has 0 learned prompts"),
    ("model_conf", {"kernel_size": 7}, "has kernel-size 7, but the checkpoint's tensors have 5; give the train.yaml of this"),
    ("model_conf", {"adpter_type": "linear"}, "has adpter-type 'linear', but layout vita has 'subsampling' only"),
    ("model_conf", {"add_audio_bos_eos": True}, "has add-audio-bos-eos True, but layout vita has False only"),
    ("transformer", {"transformer-pos-enc-class": "no-enc"}, "has transformer-pos-enc-class 'no-enc', but layout vita"),
    ("transformer", {"transformer-num-blocks": 4}, "has transformer-num-blocks 4, but the checkpoint's tensors have 1"),
])
def test_settings_that_the_tensors_do_not_have_are_refused(qwen: Path, section: str, values: dict[str, object],
                                                           words: str) -> None:
    train_yaml(qwen, section, values)
    with pytest.raises(RunError, match=re.escape(words)):
        Vita(str(qwen)).recipe()


def test_a_checkpoint_in_half_precision_comes_out_as_it_was(folder: Path, tmp_path: Path) -> None:
    rewrite(folder, lambda found: found.update({name: t.bfloat16() for name, t in found.items() if t.is_floating_point()}))
    assert main(["import", "vita", str(folder), "--out", str(tmp_path / "run")]) == 0
    assert main(["export", "vita", str(tmp_path / "run"), "--out", str(tmp_path / "out")]) == 0
    assert_same(weights(tmp_path / "out"), weights(folder))
    assert "omnikit" not in json.loads((tmp_path / "out" / "config.json").read_text())


def test_an_earlier_layer_of_the_vision_tower_is_exported_as_the_last(qwen: Path, tmp_path: Path) -> None:
    settle(qwen / "config.json", mm_vision_select_layer=-2)
    assert main(["import", "vita", str(qwen), "--out", str(tmp_path / "first")]) == 0
    assert main(["export", "vita", str(tmp_path / "first"), "--out", str(tmp_path / "out")]) == 0
    assert main(["import", "vita", str(tmp_path / "out"), "--out", str(tmp_path / "again")]) == 0
    one, two = (load_file(tmp_path / out / "imported" / "weights.safetensors") for out in ("first", "again"))
    assert_same(one, two)


def test_head_whose_field_weights_holds_numbers_is_exported_with_them(qwen: Path, tmp_path: Path) -> None:
    """`weights` names a file in other parts, and files stay out of what is written."""
    source, out = Vita(str(qwen)), tmp_path / "out"
    plan = make(parse({**source.recipe(), "turn": {"head": {"use": "state", "weights": [2.0, 3.0, 4.0]}}}, "turns"))
    state = OmniModel(plan, ["turn.head"]).parts()["turn.head"].state_dict()
    head = {name: in_memory(name, out, tensor) for name, tensor in state.items()}
    out.mkdir()
    copy_tokenizer(plan.tokenizer, out)
    Vita.write(plan.description(), {**source.open().tensors, "turn.head": head}, out,
               lambda values: make(parse(values, "read back")).description())
    turn = Vita(str(out)).recipe()["turn"]
    assert isinstance(turn, dict) and turn["head"]["weights"] == [2.0, 3.0, 4.0]
    assert {name.removeprefix("turn.head.") for name in read(Vita(str(out))) if name.startswith("turn.head.")} == head.keys()


# ---- broken ----

HEAD, W1 = "lm_head.weight", "model.layers.0.mlp.up_proj.weight"
BROKEN: dict[str, tuple[Callable[[Path], object], str]] = {
    "no config": (lambda f: (f / "config.json").unlink(), "config.json is missing"),
    "other family": (lambda f: settle(f / "config.json", model_type="gpt2"), "has model_type 'gpt2', but layout vita"),
    "no sizes": (lambda f: settle(f / "config.json", hidden_size=None), "lacks hidden_size, which nothing else states"),
    "other projector": (lambda f: settle(f / "config.json", mm_projector_type="spp"), "has mm_projector_type 'spp', but"),
    "no train.yaml": (lambda f: (f / "audio-encoder" / "train.yaml").unlink(), "but no train.yaml, which alone has"),
    "code in train.yaml": (lambda f: (f / "audio-encoder" / "train.yaml").write_text("a: !!python/object/apply:os.getcwd []"),
                           "train.yaml is not plain YAML"),
    "other encoder": (lambda f: (f / "audio-encoder" / "train.yaml").write_text(
        "encoder_conf: {overview_conf: {encoder-layer-config: mamba}}"), "has encoder-layer-config 'mamba', but"),
    "no tokenizer": (lambda f: (f / "tokenizer.json").unlink(), "has no tokenizer.json"),
    "cut short": (lambda f: (f / "model.safetensors").write_bytes(b"12345678"), "is not a whole safetensors"),
    "scaled": (lambda f: settle(f / "config.json", rope_scaling={"type": "yarn"}), "has scaled rotary"),
    "no tower": (lambda f: rewrite(f, lambda w: [w.pop(n) for n in list(w) if "vision_tower" in n]), "projector but no"),
    "strange key": (lambda f: settle(f / "config.json", omnikit={"parts": 3}), "which `omnikit export` did not write"),
}


@pytest.mark.parametrize(("spoil", "message"), BROKEN.values(), ids=BROKEN)
def test_broken_files_are_refused(qwen: Path, spoil: Callable[[Path], object], message: str) -> None:
    spoil(qwen)
    with pytest.raises(RunError, match=message):
        Vita(str(qwen)).recipe()


UNACCOUNTED: dict[str, tuple[str, Callable[[Weights], object], str]] = {
    "missing": ("vita15_full_model", lambda w: w.pop(W1), f"backbone: {W1} is missing from "),
    "other shape": ("vita15_full_model", lambda w: w.update({W1: torch.zeros(3, 64)}), f"{W1} of .* has shape \\(3"),
    "left over": ("vita15_full_model", lambda w: w.update({"model.strange": torch.zeros(1)}), "strange of .* has no place"),
    "expert missing": ("vita10_full_model", lambda w: w.pop("model.layers.0.block_sparse_moe.experts.1.w2.weight"),
                       "block_sparse_moe.experts.0.w2.weight is missing from"),
}


@pytest.mark.parametrize(("case", "spoil", "message"), UNACCOUNTED.values(), ids=UNACCOUNTED)
def test_every_tensor_is_accounted_for(case: str, spoil: Callable[[Weights], object], message: str, tmp_path: Path,
                                       capsys: pytest.CaptureFixture[str]) -> None:
    rewrite(published(case, tmp_path), spoil)
    assert main(["import", "vita", str(tmp_path / "vita"), "--out", str(tmp_path / "run")]) == 2
    shown = " ".join(capsys.readouterr().err.split())
    assert re.search(message, shown), shown
    assert not (tmp_path / "run").exists()
