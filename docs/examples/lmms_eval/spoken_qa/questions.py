"""Rows of messages as lmms-eval's chat messages: the audio of a question as a data URL."""

import base64
import os
from pathlib import Path
from typing import Any

ROWS = Path(os.environ.get("SPOKEN_QA_ROWS", "rows"))  # the folder of spoken.jsonl and its wavs


def messages(doc: dict[str, Any]) -> list[dict[str, Any]]:
    """Give the question."""
    path = doc["messages"][0]["content"][0]["path"]
    data = base64.b64encode((ROWS / path).read_bytes()).decode()
    return [{"role": "user", "content": [{"type": "audio", "url": f"data:audio/wav;base64,{data}"}]}]


def answer(doc: dict[str, Any]) -> str:
    """Give the expected answer."""
    return str(doc["messages"][1]["content"][0]["text"])


def score(doc: dict[str, Any], results: list[str]) -> dict[str, float]:
    """Compare an answer by the letter."""
    return {"exact_match": float(results[0].split() == answer(doc).split())}


def no_visual(doc: dict[str, Any]) -> list[Any]:
    """Give the images of a question: none."""
    return []
