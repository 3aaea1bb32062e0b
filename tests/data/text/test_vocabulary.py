"""Extended vocabularies: old ids and other text stay as they are, Chinese takes fewer tokens and is read back exactly."""

import json
from pathlib import Path

import pytest
from tokenizers import Tokenizer
from tokenizers.models import Unigram, WordLevel
from tokenizers.trainers import UnigramTrainer

from omnikit.data.text.vocabulary import Extension, extend
from omnikit.errors import ConfigError, DataError

GOLDENS = Path(__file__).parents[2] / "parity" / "goldens"
WORDS = ("今天", "天气", "很好", "我们", "一起", "去", "公园", "散步", "孩子", "喜欢", "吃",
         "苹果", "老师", "教", "数学", "中国", "北京", "上海", "火车", "飞机")
ENGLISH = "Hello, how are you today?\n1 + 2 is 3. The cat sits on the mat."


def sentence(number: int) -> str:
    return "".join(WORDS[(number * step + 3 * step) % len(WORDS)] for step in range(1, 6)) + "。"


def corpus(folder: Path, lines: int = 200) -> Path:
    file = folder / "zh.txt"
    file.write_text("\n".join(f"{number}: {sentence(number)} yes" for number in range(lines)), encoding="utf-8")
    return file


def unigram(folder: Path) -> Path:
    """Write a Unigram of English and a few Chinese characters, with a token beside the model."""
    tokenizer = Tokenizer(Unigram())
    tokenizer.train_from_iterator([ENGLISH, *"".join(WORDS)] * 5, UnigramTrainer(vocab_size=120, show_progress=False,
                                                                                 unk_token="<unk>", special_tokens=["<unk>"]))
    tokenizer.add_special_tokens(["<end>"])
    file = folder / "tokenizer.json"
    tokenizer.save(str(file))
    return file


@pytest.fixture(params=["characters with bytes below", "bytes", "unigram"])
def old(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return {"characters with bytes below": GOLDENS / "vita10_prompt_mixtral" / "tokenizer.json",
            "bytes": GOLDENS / "vita15_prompt_qwen2p5" / "tokenizer.json"}.get(request.param) or unigram(tmp_path)


def count(old: Path) -> int:
    """Give how many pieces are trained: more than there are characters where those have none."""
    return 60 if old.is_relative_to(GOLDENS) else 10


def extended(old: Path, tmp_path: Path, pieces: int | None = None) -> tuple[Extension, Tokenizer]:
    extension = extend(old, [corpus(tmp_path)], pieces or count(old))
    return extension, Tokenizer.from_str(json.dumps(extension.content))


def test_old_ids_stay_and_new_ones_follow(old: Path, tmp_path: Path) -> None:
    before = Tokenizer.from_file(str(old)).get_vocab(with_added_tokens=True)
    extension, tokenizer = extended(old, tmp_path)
    after = tokenizer.get_vocab(with_added_tokens=True)
    assert {piece: after[piece] for piece in before} == before
    assert sorted(set(after.values()) - set(before.values())) == list(range(extension.first, extension.first + count(old)))
    assert extension.first == 1 + max(before.values()) and extension.size == extension.first + count(old)


def test_other_text_is_cut_as_before(old: Path, tmp_path: Path) -> None:
    text = f"{ENGLISH} <end> é ☞ </s> <|im_end|>"
    assert extended(old, tmp_path)[1].encode(text).ids == Tokenizer.from_file(str(old)).encode(text).ids


def test_chinese_takes_fewer_tokens_and_is_read_back(old: Path, tmp_path: Path) -> None:
    extension, tokenizer = extended(old, tmp_path)
    text = "".join(sentence(number) for number in (3, 777)).replace("。", "")
    ids = tokenizer.encode(text, add_special_tokens=False).ids
    assert len(ids) < len(Tokenizer.from_file(str(old)).encode(text, add_special_tokens=False).ids)
    assert "".join(tokenizer.decode(ids).split()) == text
    assert extension.after < extension.before and extension.characters > 50


def test_new_piece_is_made_of_the_old_ids_of_its_text(old: Path, tmp_path: Path) -> None:
    before = Tokenizer.from_file(str(old))
    extension, tokenizer = extended(old, tmp_path)
    for place, ids in enumerate(extension.old_ids):
        piece = tokenizer.decode([extension.first + place])
        assert ids and max(ids) < extension.first
        assert piece.strip() in ("".join(before.decode(list(ids)).split()), "\N{REPLACEMENT CHARACTER}" * len(piece.strip()))


def test_characters_without_a_piece_come_first(tmp_path: Path) -> None:
    extension, tokenizer = extended(GOLDENS / "vita10_prompt_mixtral" / "tokenizer.json", tmp_path, 5)
    assert [len(tokenizer.id_to_token(extension.first + place) or "") for place in range(5)] == [1] * 5
    assert {len(ids) for ids in extension.old_ids} == {3}  # bytes of UTF-8


def test_too_few_pieces_are_refused(old: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"The corpus gives only \d+ new pieces, but 5000 are asked for"):
        extend(old, [corpus(tmp_path)], 5000)


def test_corpus_that_cannot_teach_is_refused(tmp_path: Path) -> None:
    file, old = tmp_path / "en.txt", GOLDENS / "vita15_prompt_qwen2p5" / "tokenizer.json"
    with pytest.raises(DataError, match=r"en\.txt is not a UTF-8 text file that can be read \(FileNotFoundError\)"):
        extend(old, [file], 3)
    file.write_text(ENGLISH)
    with pytest.raises(DataError, match=r"en\.txt holds no Chinese character; give Chinese text"):
        extend(old, [file], 3)
    file.write_bytes("中".encode("gb2312"))
    with pytest.raises(DataError, match=r"UnicodeDecodeError"):
        extend(old, [file], 3)


def test_tokenizer_that_cannot_be_extended_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "tokenizer.json"
    with pytest.raises(ConfigError, match=r"tokenizer\.json is missing; give a tokenizer\.json, or a folder that holds one"):
        extend(file, [corpus(tmp_path)], 3)
    file.write_text("{}")
    with pytest.raises(ConfigError, match=r"is not a file of the tokenizers library \(KeyError\)"):
        extend(file, [corpus(tmp_path)], 3)
    Tokenizer(WordLevel({"a": 0}, unk_token="a")).save(str(file))
    with pytest.raises(ConfigError, match=r"holds a model of type WordLevel, but only BPE and Unigram models"):
        extend(file, [corpus(tmp_path)], 3)
