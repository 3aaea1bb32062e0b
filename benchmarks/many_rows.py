"""Processor time to the first step and memory of a training on many rows, for each reader, beside the same on few.

    python benchmarks/many_rows.py [FOLDER] [READER …]

Each row is a short recording and a text answer. `omnikit train` is stopped at its 50th step.
"""

import base64
import json
import os
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path

import numpy as np
import soundfile

MANY, FEW, STEPS, FILES = 200_000, 2_000, 50, 16
RECIPE = """\
# @package _global_
# A small model that reads audio.
defaults:
  - /recipe
  - /audio/encoder: whisper_tiny_random
  - /audio/projector: stack_mlp_2x256
  - /backbone: llama_tiny_random
  - /text/head: lm
  - /data/rows: READER
  - _self_
data: {rows: {path: PATH, provides: [audio, answer], seconds: 1}}
audio: {encoder: {layers: 1}}
backbone: {layers: 1}
stages:
  understand:
    train: {audio: {projector: full}}
    loss: {text: 1.0}
    data: {rows: 1.0}
    trainer: {batch_size: 2, accelerator: cpu, log_every: 1, max_epochs: 1, logger: []}
"""
SETTINGS = {"windows of 50 batches": [], "pack: 512": ["stages.understand.trainer.pack=512"]}


def wav(index: int) -> bytes:
    """Give a recording of 50 ms."""
    buffer = BytesIO()
    soundfile.write(buffer, np.sin(np.arange(800) * (index % FILES + 1) / 50).astype(np.float32) / 2, 16000, format="WAV")
    return buffer.getvalue()


RECORDINGS = [wav(index) for index in range(FILES)]


def messages(index: int) -> dict[str, object]:
    """Give a row of ours."""
    return {"id": f"r{index}", "messages": [
        {"role": "user", "content": [{"type": "audio", "path": f"{index % FILES}.wav"}]},
        {"role": "assistant", "content": [{"type": "text", "text": f"answer {index}"}]}]}


def llava(index: int) -> dict[str, object]:
    """Give a row of LLaVA's."""
    return {"id": f"r{index}", "audio": f"{index % FILES}.wav", "conversations": [
        {"from": "human", "value": "<audio>"}, {"from": "gpt", "value": f"answer {index}"}]}


def sharegpt(index: int) -> dict[str, object]:
    """Give a row of ms-swift's."""
    return {"audios": [f"{index % FILES}.wav"], "messages": [{"role": "user", "content": "<audio>"},
                                                             {"role": "assistant", "content": f"answer {index}"}]}


def openai(index: int) -> dict[str, object]:
    """Give a row of OpenAI's."""
    audio = {"data": base64.b64encode(RECORDINGS[index % FILES]).decode(), "format": "wav"}
    return {"messages": [{"role": "user", "content": [{"type": "input_audio", "input_audio": audio}]},
                         {"role": "assistant", "content": f"answer {index}"}]}


def nemo(index: int) -> dict[str, object]:
    """Give a row of NeMo's."""
    return {"audio_filepath": f"{index % FILES}.wav", "duration": 0.05, "text": f"answer {index}"}


def lines(row: Callable[[int], dict[str, object]]) -> Callable[[Path, int], Path]:
    """Give what writes rows as JSON Lines."""
    def write(folder: Path, rows: int) -> Path:
        path = folder / "rows.jsonl"
        path.write_text("".join(f"{json.dumps(row(index))}\n" for index in range(rows)))
        return path
    return write


def json_list(folder: Path, rows: int) -> Path:
    """Write LLaVA's rows as one list."""
    path = folder / "rows.json"
    path.write_text(json.dumps([llava(index) for index in range(rows)], indent=1))
    return path


def table(folder: Path, rows: int) -> Path:
    """Write a table without a head."""
    path = folder / "rows.tsv"
    path.write_text("".join(f"r{index}\t{index % FILES}.wav\tanswer {index}\n" for index in range(rows)))
    return path


def kaldi_folder(folder: Path, rows: int) -> Path:
    """Write Kaldi's data folder."""
    (folder / "data").mkdir()
    (folder / "data" / "wav.scp").write_text("".join(f"r{index} {folder}/{index % FILES}.wav\n" for index in range(rows)))
    (folder / "data" / "text").write_text("".join(f"r{index} answer {index}\n" for index in range(rows)))
    return folder / "data"


def embedded(rows: int) -> Iterator[dict[str, object]]:
    """Give rows with their recordings in them."""
    for index in range(rows):
        yield {"audio": {"bytes": RECORDINGS[index % FILES], "path": None}, "answer": f"answer {index}"}


def parquet(folder: Path, rows: int) -> Path:
    """Write Parquet with the library `datasets`."""
    import datasets

    found = list(embedded(rows))
    made = datasets.Dataset.from_dict({key: [row[key] for row in found] for key in ("audio", "answer")})
    path = folder / "rows.parquet"
    made.to_parquet(str(path))
    return path


def shards(folder: Path, rows: int) -> Path:
    """Write ten tar shards."""
    (folder / "shards").mkdir()
    size = rows // 10
    for number in range(10):
        with tarfile.open(folder / "shards" / f"{number:03d}.tar", "w") as tar:
            for index in range(number * size, (number + 1) * size):
                for ending, data in (("wav", RECORDINGS[index % FILES]), ("txt", f"answer {index}".encode())):
                    info = tarfile.TarInfo(f"{index:07d}.{ending}")
                    info.size = len(data)
                    tar.addfile(info, BytesIO(data))
    return folder / "shards"


WRITERS: dict[str, tuple[str, Callable[[Path, int], Path]]] = {
    "messages_jsonl": ("messages_jsonl", lines(messages)), "llava_json": ("llava_json", json_list),
    "sharegpt": ("sharegpt", lines(sharegpt)), "openai_messages": ("openai_messages", lines(openai)),
    "nemo_manifest": ("nemo_manifest", lines(nemo)), "kaldi, a table": ("kaldi", table),
    "kaldi, a folder": ("kaldi", kaldi_folder), "hf_dataset": ("hf_dataset", parquet), "webdataset": ("webdataset", shards)}


def train(folder: Path, settings: list[str]) -> tuple[float, int, int]:
    """Train up to STEPS; gives the processor seconds to the first step, and the peak memory then and at the end in MB."""
    command = [sys.executable, "-m", "omnikit.cli", "train", "small.yaml", "run=run", *settings]
    with (folder / "train.log").open("w") as log:
        child = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log,
                                 env={**os.environ, "OMP_NUM_THREADS": "1", "XDG_CACHE_HOME": str(folder / "cache")})
    try:
        wait_for(child, folder, 1)
        first, early = seconds(child.pid), memory(child.pid)
        wait_for(child, folder, STEPS)
        return first, early, memory(child.pid)
    finally:
        child.kill()
        child.wait()
        subprocess.run(["rm", "-rf", str(folder / "run")], check=True)


def wait_for(child: "subprocess.Popen[bytes]", folder: Path, step: int) -> None:
    """Wait until a step is done."""
    while True:
        found = [len(file.read_text().splitlines()) for file in folder.glob("run/.understand.partial/metrics.csv")]
        if found and found[0] > step:
            return
        if child.poll() is not None:
            raise SystemExit(f"The training ended: {(folder / 'train.log').read_text()[-2000:]}")
        time.sleep(0.02)


def seconds(process: int) -> float:
    """Give the processor time of a process."""
    numbers = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(numbers[11]) + int(numbers[12])) / os.sysconf("SC_CLK_TCK")


def memory(process: int) -> int:
    """Give the peak memory of a process in MB."""
    status = Path(f"/proc/{process}/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith("VmHWM")).split()[1]) // 1024


def main(top: Path, names: list[str]) -> None:
    """Print a line of the table for each reader and setting."""
    for name in names or WRITERS:
        reader, write = WRITERS[name]
        for rows in (FEW, MANY):
            folder = top / f"{reader}_{rows}_{len(name)}"
            if not folder.exists():
                folder.mkdir(parents=True)
                for index, data in enumerate(RECORDINGS):
                    (folder / f"{index}.wav").write_bytes(data)
                path = write(folder, rows)
                (folder / "small.yaml").write_text(RECIPE.replace("READER", reader).replace("PATH", str(path)))
            for words, settings in SETTINGS.items():
                first, early, late = train(folder, settings)
                sys.stdout.write(f"| {name} | {rows} | {words} | {first:.1f} s | {early} MB | {late} MB |\n")
                sys.stdout.flush()


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else tempfile.mkdtemp()), sys.argv[2:])
