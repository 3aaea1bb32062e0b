"""Tokenizers are found by name, folder and file, and a missing one is one sentence."""

from pathlib import Path

import pytest
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace

from omnikit.errors import ConfigError
from omnikit.store.tokenizer_files import load_tokenizer


@pytest.fixture
def file(tmp_path: Path) -> Path:
    tokenizer = Tokenizer(WordLevel({"<pad>": 0, "<unk>": 1, "two": 2, "three": 3}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = Whitespace()
    tokenizer.save(str(tmp_path / "words.json"))
    return tmp_path / "words.json"


def test_json_file_loads_with_its_pad_token(file: Path) -> None:
    tokenizer = load_tokenizer(str(file))
    assert tokenizer.encode("three two nine", add_special_tokens=False) == [3, 2, 1]
    assert tokenizer.pad_token_id == 0


def test_folder_loads_as_transformers_saved_it(file: Path, tmp_path: Path) -> None:
    load_tokenizer(str(file)).save_pretrained(tmp_path / "saved")
    assert load_tokenizer(str(tmp_path / "saved")).encode("two", add_special_tokens=False) == [2]


def test_missing_reference_names_where_it_was_sought() -> None:
    with pytest.raises(ConfigError, match=r"'nowhere' is not a name of conf/tokenizer .* set backbone.tokenizer"):
        load_tokenizer("nowhere")


def test_folder_without_a_tokenizer_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"holds no tokenizer\.json"):
        load_tokenizer(str(tmp_path))


def test_file_that_is_no_tokenizer_is_named(tmp_path: Path) -> None:
    (tmp_path / "bad.json").write_text("{}")
    with pytest.raises(ConfigError, match="is not a file of the tokenizers library"):
        load_tokenizer(str(tmp_path / "bad.json"))


def test_code_beside_a_tokenizer_is_never_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("builtins.input", lambda prompt: "y")  # transformers would ask
    (tmp_path / "tokenizer_config.json").write_text('{"auto_map": {"AutoTokenizer": ["odd.Odd", null]}}')
    (tmp_path / "config.json").write_text('{"model_type": "odd"}')
    (tmp_path / "odd.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n")
    with pytest.raises(ConfigError, match=r"holds no tokenizer\.json"):
        load_tokenizer(str(tmp_path))
    assert not (tmp_path / "ran").exists()
