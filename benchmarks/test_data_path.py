"""The data path alone, from one worker to ready batches: omnikit against webdataset, litdata and datasets.

The others have a plain collator. All read the same JPEG, WAV and text, and their first batches are equal value by value. Each
way has a process of its own, in turns, with a warm file cache. omnikit shuffles and checks as in a training; the others read in
the order of their files.
"""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from bench_table import Measures
from data_path_loaders import BATCH
from data_path_rows import ROWS, write

ROUNDS, LEAST = 3, 1.0
SOME = 1500  # rows of `make bench`; all of them where the test is slow
OTHERS = ("webdataset", "litdata", "datasets")
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
            script = Path(__file__).parent / "data_path.py"
            printed = subprocess.run([sys.executable, str(script), str(folder), way, str(start)], env=ENVIRONMENT, check=True,
                                     capture_output=True, text=True).stdout
            found.add(way, json.loads(printed.splitlines()[-1]))
    return found


@pytest.fixture(scope="module", params=[SOME, pytest.param(ROWS, marks=pytest.mark.slow)])
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of the rows in every format, or the one that DATA_PATH_ROWS names."""
    path = Path(os.environ.get("DATA_PATH_ROWS", tmp_path_factory.getbasetemp())) / f"rows_{request.param}"
    write(path, request.param)
    loaded(path, (*OURS, *OTHERS), rounds=1)  # warms the file cache and what the libraries store
    return path


def test_a_row_costs_no_more_than_in_the_best_of_the_others(measures: Measures, folder: Path) -> None:
    found = loaded(folder, (*OURS, *OTHERS))
    for unit, table in (("processor time", found.processor), ("time on the clock", found.clock)):
        best = [min(table[way][number] for way in OTHERS) for number in range(ROUNDS)]
        for way in OURS:
            measures.ratio(f"rows per {unit}, {way} / the best of the others", best, table[way], least=LEAST)
    for way in (*OURS, *OTHERS):
        measures.number(f"processor time of a row, {way}", sorted(found.processor[way])[ROUNDS // 2], "us")
        measures.number(f"rows a second, {way}", 1e6 / sorted(found.clock[way])[ROUNDS // 2], "")
        measures.number(f"time to the first batch, {way}", sorted(found.first[way])[ROUNDS // 2], "s")
        measures.number(f"memory of both processes, {way}", sorted(found.megabytes[way])[ROUNDS // 2], "MB")


def test_first_batches_are_equal_value_by_value(folder: Path) -> None:
    found = loaded(folder, (*IN_ORDER, *OTHERS), rounds=1)
    assert all(digest == found.digest["webdataset"] for digest in found.digest.values())
    assert all(ids == found.ids["webdataset"] for ids in found.ids.values())


def test_resuming_in_the_middle_gives_the_rest_of_the_same_order(measures: Measures, folder: Path) -> None:
    whole = loaded(folder, (*OURS, *OTHERS), rounds=1)
    start = len(whole.ids["omnikit files"]) // 2 // BATCH * BATCH
    subprocess.run([sys.executable, "-c", f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
                    "from pathlib import Path; from data_path_loaders import write_litdata_state\n"
                    f"write_litdata_state(Path({str(folder)!r}), {start})"], env=ENVIRONMENT, check=True)
    found = loaded(folder, (*OURS, *OTHERS), start)
    for way in (*OURS, *OTHERS):
        measures.number(f"time to the first batch after row {start}, {way}", sorted(found.first[way])[ROUNDS // 2], "s")
        measures.number(f"the order goes on as it was, {way}", float(found.ids[way] == whole.ids[way][start:]), "")
    assert all(found.ids[way] == whole.ids[way][start:] for way in OURS)
