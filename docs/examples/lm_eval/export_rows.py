"""Write rows of a run's dataset as files: written.jsonl (questions as text) and spoken.jsonl with its wavs.

python docs/examples/lm_eval/export_rows.py RUN DATASET OUT [ROWS OF EACH KIND]
"""

import json
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

import omnikit
from omnikit.contracts.types import ContentPart, Message, Sample
from omnikit.data.media.audio import save_audio


def part_as_text(part: ContentPart) -> dict[str, object]:
    """Give a part of a question as text; of audio what is said in it."""
    return {"type": "text", "text": part.text}


def row(sample: Sample, messages: list[dict[str, object]]) -> str:
    """Give a line of a file."""
    return json.dumps({"id": sample.id, "messages": messages, "facts": {"kind": sample.facts.get("kind", "")}}) + "\n"


def main(run: str, dataset: str, out: Path, most: int) -> None:
    """Write the files."""
    reader = omnikit.Run.open(run).plan.readers[dataset].build()
    written, spoken, kinds = [], [], Counter[str]()
    for sample in (reader[index] for index in range(len(reader))):
        kinds[sample.facts.get("kind", "")] += 1
        if kinds[sample.facts.get("kind", "")] > most:
            continue
        texts: list[dict[str, object]] = []
        audios: list[dict[str, object]] = []
        for message in map(without_spoken_answer, sample.messages):
            texts.append({"role": message.role, "content": [part_as_text(part) for part in message.content]})
            audios.append({"role": message.role, "content": [saved(part, out, sample.id) for part in message.content]})
        written.append(row(sample, texts))
        spoken.append(row(sample, audios))
    (out / "written.jsonl").write_text("".join(written), encoding="utf-8")
    (out / "spoken.jsonl").write_text("".join(spoken), encoding="utf-8")


def without_spoken_answer(message: Message) -> Message:
    """Give a message, an answer without its audio."""
    keep = tuple(part for part in message.content if message.role != "assistant" or part.type == "text")
    return replace(message, content=keep)


def saved(part: ContentPart, out: Path, name: str) -> dict[str, object]:
    """Give a part as a row names it, its audio in a file."""
    if part.audio is None:
        return part_as_text(part)
    out.mkdir(parents=True, exist_ok=True)
    save_audio(out / f"{name}.wav", part.audio, part.sample_rate)
    return {"type": "audio", "path": f"{name}.wav", "text": part.text}


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], Path(sys.argv[3]), int(sys.argv[4]) if len(sys.argv) > 4 else 10**9)
