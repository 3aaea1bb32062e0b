"""Loaders of the same rows from one worker to ready batches: omnikit's, and those of webdataset, litdata and datasets.

Each way gives batches from a row on; all but omnikit's in the order of the files, since they shuffle in other ways.

    python benchmarks/data_path_loaders.py FOLDER ROWS      # writes the state of litdata's loader after so many rows
"""

import io
import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import soundfile
import torch
from PIL import Image
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import DataLoader

from omnikit.contracts.types import Batch
from omnikit.data.batch.collate import Collator
from omnikit.data.batch.loader import BatchLoader, Position
from omnikit.data.batch.samplers import LengthBucketSampler, MixtureDataset, SampleKey
from omnikit.data.batch.tolerant import open_reader, row_batches
from omnikit.plan.plan import make
from omnikit.recipe.compose import compose
from omnikit.store.tokenizer_files import load_tokenizer

BATCH = 25
IMAGE, AUDIO = 576, 15  # positions of an image and of a recording
BEFORE = "<|begin_of_text|><|start_header_id|>user<|end_header_id|>\n\n"
BETWEEN = "<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n"
END, IGNORED = "<|eot_id|>", -100
Row = Mapping[str, object]
Plain = dict[str, object]  # tensors by name, and ids


class PlainCollator:
    """Decodes rows and makes what a training step needs of them; nothing is checked."""

    def __init__(self) -> None:
        self.tokenizer = load_tokenizer("tiny")
        self.before = self.ids([BEFORE])[0] + [0] * (AUDIO + IMAGE)

    def ids(self, texts: Sequence[str]) -> list[list[int]]:
        """Give the ids of texts, all tokenised by one call."""
        found: list[list[int]] = self.tokenizer(list(texts), add_special_tokens=False)["input_ids"]
        return found

    def __call__(self, rows: Sequence[Row]) -> Plain:
        prompts = [self.before + ids for ids in self.ids([f"{row['question']}{BETWEEN}" for row in rows])]
        answers = self.ids([f"{row['answer']}{END}" for row in rows])
        labels = [torch.tensor([IGNORED] * len(prompt) + answer) for prompt, answer in zip(prompts, answers, strict=True)]
        tokens = [torch.tensor(prompt + answer) for prompt, answer in zip(prompts, answers, strict=True)]
        return {"ids": [row["id"] for row in rows], "tokens": pad_sequence(tokens, batch_first=True),
                "lengths": torch.tensor([len(each) for each in tokens]),
                "labels": pad_sequence(labels, batch_first=True, padding_value=IGNORED),
                "image": stacked([row["image"] for row in rows]), "audio": padded([row["audio"] for row in rows])}


def stacked(images: Sequence[object]) -> Tensor:
    """Give images, PIL's or tensors [3, S, S], as one tensor [B, 3, S, S]."""
    if isinstance(images[0], Tensor):
        return torch.stack([image for image in images if isinstance(image, Tensor)])
    return torch.from_numpy(np.stack([np.asarray(image) for image in images])).permute(0, 3, 1, 2)


def padded(files: Sequence[object]) -> Tensor:
    """Decode files of audio, and give them as one tensor [B, N]."""
    decoded = [soundfile.read(io.BytesIO(file), dtype="float32")[0] for file in files if isinstance(file, bytes | memoryview)]
    return pad_sequence([torch.from_numpy(waveform) for waveform in decoded], batch_first=True)


def plain(batch: Batch) -> Plain:
    """Give a batch of ours as PlainCollator does."""
    targets = batch.targets["text"]
    labels = torch.full_like(batch.tokens, IGNORED)
    for row, (answers, count, ids) in enumerate(zip(batch.answers, batch.answer_lengths, targets.ids, strict=True)):
        labels[row, answers[:count]] = ids[:count]
    return {"ids": batch.ids, "tokens": batch.tokens, "lengths": batch.lengths, "labels": labels,
            "image": batch.signals["vision"].data, "audio": batch.signals["audio"].data}


# ---- omnikit ----

class RowOrder:
    """Rows as they stand in the file."""

    def __init__(self, dataset: str, rows: int) -> None:
        self.dataset, self.rows = dataset, rows

    def batches(self, number: int) -> Iterator[list[SampleKey]]:
        """Give the keys of each batch."""
        return iter([[(self.dataset, row) for row in range(start, start + BATCH)] for start in range(0, self.rows, BATCH)])

    def count(self, number: int) -> int:
        """Give the batches of a pass."""
        return self.rows // BATCH


def omnikit(dataset: str, *, shuffled: bool) -> Callable[[Path, int], Iterator[Batch]]:
    """Give the way of a reader of ours, in the order of a training or of the file."""
    def batches(folder: Path, start: int) -> Iterator[Batch]:
        plan = make(compose(str(folder / "recipe.yaml")))
        readers = {dataset: open_reader(plan, dataset)}
        mixture, collate = MixtureDataset(readers, plan.image_spec), Collator(plan, ["text"])
        order = (LengthBucketSampler(mixture, {dataset: 1.0}, BATCH, 0) if shuffled else
                 RowOrder(dataset, len(readers[dataset])))
        return iter(BatchLoader(order, row_batches(mixture, collate), workers=1, start=Position(0, start // BATCH), passes=1))

    return batches


# ---- others ----

def webdataset(folder: Path, start: int) -> Iterator[Plain]:
    """Tar shards by webdataset, which has no state: what comes before `start` is read, not decoded."""
    import webdataset as wds

    shards = sorted(str(shard) for shard in (folder / "tar").iterdir())
    rows = wds.WebDataset(shards, shardshuffle=False).slice(start, 10**9).map(_of_tar)
    batches = rows.batched(BATCH, collation_fn=PlainCollator())
    return iter(wds.WebLoader(batches, batch_size=None, num_workers=1))


def _of_tar(sample: Mapping[str, bytes]) -> Row:
    return {"id": sample["__key__"], "image": _image(sample["jpg"]), "audio": sample["wav"], **json.loads(sample["json"])}


def _image(data: bytes) -> Image.Image:
    return Image.open(io.BytesIO(data)).convert("RGB")


def litdata(folder: Path, start: int) -> Iterator[Plain]:
    """Chunks of litdata, which decodes their JPEG by torchvision; resumed by the state that its loader gave."""
    from litdata import StreamingDataLoader, StreamingDataset

    loader = StreamingDataLoader(StreamingDataset(str(folder / "litdata")), batch_size=BATCH, num_workers=1,
                                 collate_fn=PlainCollator())
    if start:
        loader.load_state_dict(json.loads((folder / f"litdata_{start}.json").read_text()))
    return iter(loader)


def write_litdata_state(folder: Path, start: int) -> None:
    """Write the state of litdata's loader after so many rows."""
    from litdata import StreamingDataLoader, StreamingDataset

    loader = StreamingDataLoader(StreamingDataset(str(folder / "litdata")), batch_size=BATCH, num_workers=1,
                                 collate_fn=PlainCollator())
    for number, _ in enumerate(loader, start=1):
        if number * BATCH == start:
            (folder / f"litdata_{start}.json").write_text(json.dumps(loader.state_dict()))
            return


def datasets(folder: Path, start: int) -> Iterator[Plain]:
    """Parquet by datasets, rows by index: it resumes wherever a sampler begins."""
    from datasets import load_dataset

    files = sorted(str(file) for file in (folder / "parquet").iterdir())
    table = load_dataset("parquet", data_files=files, split="train")
    return iter(DataLoader(table, batch_size=BATCH, sampler=range(start, len(table)), num_workers=1, collate_fn=_OfTable()))


class _OfTable:
    """PlainCollator of rows whose audio stands in a struct."""

    def __init__(self) -> None:
        self.collate = PlainCollator()

    def __call__(self, rows: Sequence[Mapping[str, Mapping[str, object]]]) -> Plain:
        return self.collate([{**row, "audio": row["audio"]["bytes"]} for row in rows])


WAYS: dict[str, Callable[[Path, int], Iterator[Batch] | Iterator[Plain]]] = {
    "omnikit files": omnikit("files", shuffled=True), "omnikit tar": omnikit("shards", shuffled=True),
    "omnikit parquet": omnikit("table", shuffled=True), "omnikit files in order": omnikit("files", shuffled=False),
    "omnikit tar in order": omnikit("shards", shuffled=False), "omnikit parquet in order": omnikit("table", shuffled=False),
    "webdataset": webdataset, "litdata": litdata, "datasets": datasets}


if __name__ == "__main__":
    torch.set_num_threads(1)
    write_litdata_state(Path(sys.argv[1]), int(sys.argv[2]))
