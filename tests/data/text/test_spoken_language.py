"""The language of a text by its script."""

import pytest

from omnikit.data.text.spoken_language import spoken_language


@pytest.mark.parametrize(("text", "language"), [
    ("What is the capital of France?", "english"), ("naïve café, 3 °C and π", "english"), ("法国的首都是哪里？", "mandarin"),
    ("用Python写一个程序", "mandarin"), ("What does 你好 mean?", None), ("こんにちは", None), ("東京の天気", None),
    ("안녕하세요", None), ("Как дела?", None), ("12 + 3", "english")])
def test_language_of_a_text(text: str, language: str | None) -> None:
    assert spoken_language(text) == language
