"""The data path alone, from one worker to ready batches: omnikit against webdataset, litdata and datasets.

The others have a plain collator. All read the same JPEG, WAV and text, and their first batches are equal value by value. Each
way has a process of its own, in turns, with a warm file cache. omnikit shuffles and checks as in a training; the others read in
the order of their files. litdata needs an older python-dateutil than we have, so it is measured where PYTHONPATH has it; see
docs/explanation/performance.md.
"""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from statistics import median

import pytest
from bench_table import Measures
from data_path_loaders import BATCH
from data_path_rows import ROWS, write

ROUNDS, LEAST = 3, 1.0
SOME = 1500  # rows of `make bench`; all of them where the test is slow
OTHERS = ("webdataset", "datasets", *(["litdata"] if find_spec("litdata") else []))
OURS = ("omnikit files", "omnikit tar", "omnikit parquet")
IN_ORDER = tuple(f"{way} in order" for way in OURS)
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}


@dataclass
class Found:
    """What each way took, round by round."""

    first: dict[str, list[float]] = field(default_factory=dict)
    processor: dict[str, list[float]] = field(default_factory=dict)  # microseconds of a row
    clock: dict[str, list[float]] = field(default_factory=dict)
    megabytes: dict[str, list[float]] = field(default_factory=dict)
    ids: dict[str, list[str]] = field(default_factory=dict)
    digest: dict[str, object] = field(default_factory=dict)

    def add(self, way: str, numbers: Mapping[str, object]) -> None:
        """Add a round of a way."""
        ids = numbers["ids"]
        assert isinstance(ids, list)
        values = {name: float(str(numbers[name])) for name in ("first", "processor", "rest", "rows", "megabytes")}
        for table, value in ((self.first, values["first"]), (self.processor, 1e6 * values["processor"] / len(ids)),
                             (self.clock, 1e6 * values["rest"] / values["rows"]), (self.megabytes, values["megabytes"])):
            table.setdefault(way, []).append(value)
        self.ids[way], self.digest[way] = ids, numbers["digest"]


def loaded(folder: Path, ways: tuple[str, ...], start: int = 0, rounds: int = ROUNDS) -> Found:
    """Let ways take turns, in the other order every second round."""
    found = Found()
    for number in range(rounds):
        for way in ways[::-1 if number % 2 else 1]:
            found.add(way, json.loads(run("data_path.py", str(folder), way, str(start)).splitlines()[-1]))
    return found


def run(script: str, *arguments: str) -> str:
    """Run a script of this folder, and give what it prints."""
    return subprocess.run([sys.executable, str(Path(__file__).parent / script), *arguments], env=ENVIRONMENT, check=True,
                          capture_output=True, text=True).stdout


@pytest.fixture(scope="module", params=[SOME, pytest.param(ROWS, marks=pytest.mark.slow)])
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of the rows in every format."""
    path = tmp_path_factory.mktemp("rows")
    write(path, request.param)
    return path


@pytest.fixture(scope="module")
def in_order(folder: Path) -> Found:
    """All rows in the order of the files, once; warms the file cache and what the libraries store."""
    return loaded(folder, (*IN_ORDER, *OTHERS), rounds=1)


@pytest.fixture(scope="module")
def whole(folder: Path, in_order: Found) -> Found:
    """All rows."""
    return loaded(folder, (*OURS, *OTHERS))


def test_first_batches_are_equal_value_by_value(in_order: Found) -> None:
    assert all(digest == in_order.digest["webdataset"] for digest in in_order.digest.values())
    assert all(ids == in_order.ids["webdataset"] for ids in in_order.ids.values())


def test_a_row_costs_no_more_than_in_the_best_of_the_others(measures: Measures, whole: Found) -> None:
    for unit, table, least in (("processor time", whole.processor, LEAST), ("time on the clock", whole.clock, None)):
        best = [min(table[way][number] for way in OTHERS) for number in range(ROUNDS)]
        for way in OURS:
            measures.ratio(f"rows per {unit}, {way} / the best of the others", best, table[way], least=least)
    for way in (*OURS, *OTHERS):
        measures.number(f"processor time of a row, {way}", median(whole.processor[way]), "us")
        measures.number(f"rows a second, {way}", 1e6 / median(whole.clock[way]), "")
        measures.number(f"time to the first batch, {way}", median(whole.first[way]), "s")
        measures.number(f"memory of both processes, {way}", median(whole.megabytes[way]), "MB")


def test_resuming_in_the_middle_gives_the_rest_of_the_same_order(measures: Measures, folder: Path, whole: Found) -> None:
    start = len(whole.ids["omnikit files"]) // 2 // BATCH * BATCH
    if "litdata" in OTHERS:
        run("data_path_loaders.py", str(folder), str(start))
    found = loaded(folder, (*OURS, *OTHERS), start, rounds=1)
    for way in (*OURS, *OTHERS):
        measures.number(f"time to the first batch after row {start}, {way}", found.first[way][0], "s")
        measures.number(f"the order goes on as it was, {way}", float(found.ids[way] == whole.ids[way][start:]), "")
    assert all(found.ids[way] == whole.ids[way][start:] for way in OURS)
