"""The tasks of docs/examples for other evaluation tools: their rows are rows of ours, asked and compared as such."""

import base64
import importlib.util
import json
from pathlib import Path
from types import ModuleType

import jinja2
import pytest
import yaml
from omnikit_basics.config.reader import MessagesJsonl

EXAMPLES = Path(__file__).parents[1] / "docs" / "examples"


def loaded(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_lm_eval_task_asks_and_expects_what_the_rows_hold() -> None:
    task = yaml.safe_load((EXAMPLES / "lm_eval" / "spoken_qa.yaml").read_text())
    rows = EXAMPLES / "lm_eval" / "written.jsonl"
    assert EXAMPLES.parents[1] / task["dataset_kwargs"]["data_files"]["test"] == rows
    reader = MessagesJsonl(path=str(rows)).build()
    fields = [jinja2.Template(task[name]) for name in ("doc_to_text", "doc_to_target")]
    asked = [[field.render(json.loads(line)) for field in fields] for line in rows.read_text().splitlines()]
    assert asked == [[message.content[0].text for message in reader[index].messages] for index in range(len(reader))]
    assert len(asked) == 60 and task["generation_kwargs"]["temperature"] == 0.0


def test_lmms_eval_task_sends_the_audio_and_compares_by_the_letter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPOKEN_QA_ROWS", str(tmp_path))
    (tmp_path / "q.wav").write_bytes(b"RIFF")
    task = loaded(EXAMPLES / "lmms_eval" / "spoken_qa" / "questions.py")
    doc = {"messages": [{"role": "user", "content": [{"type": "audio", "path": "q.wav", "text": "one"}]},
                        {"role": "assistant", "content": [{"type": "text", "text": "one two"}]}]}
    [message] = task.messages(doc)
    head, _, data = message["content"][0]["url"].partition(",")
    assert head == "data:audio/wav;base64" and base64.b64decode(data) == b"RIFF"
    assert [task.score(doc, [answer])["exact_match"] for answer in ("one  two ", "One two")] == [1.0, 0.0]
