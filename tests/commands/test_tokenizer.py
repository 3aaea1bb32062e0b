"""`omnikit tokenizer extend` on tiny checkpoints with random weights: a whole folder that is a backbone, or nothing."""

import json
import re
import shutil
from pathlib import Path

import pytest
import torch
from small_recipe import RECIPE
from transformers import AutoTokenizer, MixtralConfig, MixtralForCausalLM

from omnikit.cli import main
from omnikit.inference.session import build
from omnikit.recipe.compose import compose

TOKENIZER = Path(__file__).parents[1] / "parity" / "goldens" / "vita10_prompt_mixtral" / "tokenizer.json"
OLD, PIECES, ROWS = 700, 36, 776  # ids of that tokenizer; rows are a multiple of 8, as VITA 1.0 padded its own
SENTENCES = ("今天天气很好，我们一起去公园散步。", "老师教数学，孩子喜欢吃苹果。")
LINES = [f"{number}: {SENTENCES[number % 2]}" for number in range(60)]


def checkpoint(folder: Path, *, tied: bool = False, shard: str = "1MB") -> Path:
    torch.manual_seed(0)
    config = MixtralConfig(vocab_size=OLD, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
                           num_key_value_heads=2, num_local_experts=4, max_position_embeddings=256, tie_word_embeddings=tied)
    MixtralForCausalLM(config).to(torch.bfloat16).save_pretrained(folder, max_shard_size=shard)
    shutil.copyfile(TOKENIZER, folder / "tokenizer.json")
    (folder / "merges.txt").write_text("of the old pieces")
    return folder


def corpus(folder: Path) -> str:
    (folder / "zh.txt").write_text("\n".join(LINES), encoding="utf-8")
    return str(folder / "zh.txt")


def extend(source: Path, folder: Path, *words: str) -> int:
    options = {"--corpus": corpus(folder), "--pieces": str(PIECES), "--out": str(folder / "out")}
    options |= dict(zip(words[::2], words[1::2], strict=True))
    return main(["tokenizer", "extend", str(source), *(word for pair in options.items() for word in pair)])


@pytest.mark.parametrize("tied", [False, True], ids=["two matrices", "tied"])
@pytest.mark.parametrize("shard", ["1MB", "40KB"], ids=["one file", "shards"])
@torch.no_grad()
def test_extended_checkpoint_holds_new_pieces_and_old_text(tmp_path: Path, tied: bool, shard: str) -> None:
    source = checkpoint(tmp_path / "old", tied=tied, shard=shard)
    assert extend(source, tmp_path, "--rows", str(ROWS)) == 0
    old, new = (MixtralForCausalLM.from_pretrained(folder, dtype=torch.bfloat16) for folder in (source, tmp_path / "out"))
    tokenizer, before = AutoTokenizer.from_pretrained(tmp_path / "out"), AutoTokenizer.from_pretrained(source)
    assert (len(tokenizer), new.config.vocab_size) == (OLD + PIECES, ROWS)
    ids = torch.tensor([before("The cat sits.").input_ids])
    assert tokenizer("The cat sits.").input_ids == ids[0].tolist()
    torch.testing.assert_close(new(ids).logits[..., :OLD], old(ids).logits, atol=0, rtol=0)
    for table, earlier in zip((new.get_input_embeddings(), new.get_output_embeddings()),
                              (old.get_input_embeddings(), old.get_output_embeddings()), strict=True):
        for number in range(OLD, OLD + PIECES):
            made_of = before.backend_tokenizer.model.tokenize(tokenizer.convert_ids_to_tokens(number))
            expected = earlier.weight[[token.id for token in made_of]].float().mean(0).to(torch.bfloat16)
            torch.testing.assert_close(table.weight[number], expected, atol=0, rtol=0)
        mean = earlier.weight.float().mean(0).to(torch.bfloat16)
        torch.testing.assert_close(table.weight[OLD + PIECES:], mean.expand(ROWS - OLD - PIECES, -1), atol=0, rtol=0)


def test_folder_is_whole_and_holds_nothing_of_the_old_pieces(tmp_path: Path) -> None:
    assert extend(checkpoint(tmp_path / "old", shard="40KB"), tmp_path) == 0
    names = {path.name for path in (tmp_path / "out").iterdir()}
    index = json.loads((tmp_path / "out" / "model.safetensors.index.json").read_text())
    assert names >= {"config.json", "generation_config.json", "tokenizer.json", *index["weight_map"].values()}
    assert "merges.txt" not in names
    assert not list(tmp_path.glob(".*"))


def test_extended_checkpoint_is_a_backbone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert extend(checkpoint(tmp_path / "old"), tmp_path) == 0
    monkeypatch.chdir(tmp_path)
    text = RECIPE.replace("llama_tiny_random", "mixtral_tiny_random").replace("rows.jsonl", "rows")
    recipe = "".join(line for line in text.splitlines(keepends=True) if "speech" not in line)
    (tmp_path / "small.yaml").write_text(recipe[:recipe.index("stages:")])
    out = tmp_path / "out"
    session = build(compose(str(tmp_path / "small.yaml"), [
        f"backbone.weights={out}", f"backbone.tokenizer={out}", f"backbone.vocabulary={OLD + PIECES}", "backbone.dim=32",
        "backbone.layers=2", "backbone.ffn=48", "backbone.rope_theta=1000000.0", "backbone.context=256",
        "template=mixtral_two", "generate.max_new_tokens=3"]))
    assert isinstance(session.answer(text="今天").text, str)


def test_tokenizer_alone_is_extended(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert extend(TOKENIZER, tmp_path) == 0
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["tokenizer.json"]
    shown = capsys.readouterr().out
    found = re.search(r"has 736 ids, 36 of them new\.\nTokens per Chinese character: (.*) before, (.*) now", shown)
    assert found
    before, after = found.groups()
    assert float(after) < float(before)
    assert f"backbone.tokenizer={tmp_path / 'out' / 'tokenizer.json'} backbone.vocabulary=736" in shown


@pytest.mark.parametrize(("words", "text"), [
    (["--rows", "730"], "--rows is 730, but the tokenizer has 736 ids; set --rows 736 or more."),
    (["--pieces", "900"], "new pieces, but 900 are asked for; give more text or set --pieces"),
    (["--pieces", "0"], "argument --pieces: 0 is not a whole number of at least 1"),
    (["--corpus", "none.txt"], "--corpus none.txt is not a UTF-8 text file that can be read (FileNotFoundError)"),
], ids=["rows", "pieces", "no pieces", "corpus"])
def test_what_cannot_be_extended_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str],
                                                 text: str) -> None:
    source = checkpoint(tmp_path / "old")
    capsys.readouterr()  # transformers' progress bar
    assert extend(source, tmp_path, *words) == 2
    shown = capsys.readouterr().err
    assert text in shown and shown.count("\n") == 1
    assert not (tmp_path / "out").exists() and not list(tmp_path.glob(".*"))


def broken_config(folder: Path) -> None:
    (folder / "config.json").write_text("{}")


def other_rows(folder: Path) -> None:
    values = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**values, "vocab_size": 701}))


def no_weights(folder: Path) -> None:
    (folder / "model.safetensors").unlink()


@pytest.mark.parametrize(("change", "text"), [
    (broken_config, "config.json has no vocab_size, so its matrices cannot grow"),
    (other_rows, "has 700 rows, but config.json has vocab_size 701; copy the checkpoint again."),
    (no_weights, "holds no weights: neither model.safetensors nor pytorch_model.bin"),
], ids=["config", "rows", "weights"])
def test_broken_checkpoint_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str], change, text: str) -> None:
    change(checkpoint(tmp_path / "old"))
    assert extend(tmp_path / "old", tmp_path) == 2
    assert text in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_folder_that_is_there_stays(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "out").mkdir()
    assert extend(TOKENIZER, tmp_path) == 2
    assert "which is there already; name a folder that is not, or remove it." in capsys.readouterr().err


def test_rows_without_matrices_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert extend(TOKENIZER, tmp_path, "--rows", "800") == 2
    assert "has no config.json and so no matrices; leave --rows out" in capsys.readouterr().err
