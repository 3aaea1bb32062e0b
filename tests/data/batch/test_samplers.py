"""Order and mixture of batches."""

from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
from doubles import EchoDataset, EchoReader
from vision_doubles import SPEC, image, make_row

from omnikit.contracts.types import ContentPart
from omnikit.data.batch.samplers import CHARACTERS_PER_SECOND, SECONDS_PER_TILE, LengthBucketSampler, MixtureDataset, SampleKey
from omnikit.errors import DataError

ALL = [("a", i) for i in range(20)]


def make_sampler(shares: dict[str, float] | None = None, **options: int) -> LengthBucketSampler:
    mixture = MixtureDataset({"a": EchoReader(EchoDataset(20)), "b": EchoReader(EchoDataset(10, textual=1))})
    mixture.readers = {name: mixture.readers[name] for name in shares or {"a": 1.0}}
    return LengthBucketSampler(mixture, shares or {"a": 1.0}, 4, options.pop("seed", 0), **options)


def flat(batches: list[list[SampleKey]]) -> list[SampleKey]:
    return [pick for batch in batches for pick in batch]


def test_a_pass_has_each_row_once() -> None:
    assert sorted(flat(list(make_sampler()))) == ALL


def test_same_seed_gives_the_same_order() -> None:
    assert list(make_sampler()) == list(make_sampler())


def test_another_seed_gives_another_order() -> None:
    assert list(make_sampler()) != list(make_sampler(seed=1))


def test_second_pass_has_another_order() -> None:
    sampler = make_sampler()
    assert list(sampler) != list(sampler)


def test_shares_decide_the_rows_of_a_pass() -> None:
    counts = Counter(name for name, _ in flat(list(make_sampler({"a": 1.0, "b": 2.0}))))
    assert counts == {"a": 10, "b": 20}


def test_rows_of_a_batch_are_of_similar_length() -> None:
    sampler = make_sampler({"a": 1.0, "b": 1.0})
    ranges = sorted((min(sizes), max(sizes)) for batch in sampler if (sizes := [sampler.mixture.size(p) for p in batch]))
    assert all(longest <= shortest for (_, longest), (shortest, _) in pairwise(ranges))


def test_a_window_of_one_batch_sorts_nothing_and_measures_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(MixtureDataset, "size", lambda self, pick: pytest.fail(f"{pick} was measured"))
    sampler = make_sampler({"a": 1.0, "b": 1.0}, window=1)
    drawn, _ = sampler.mixture_sampler.sample_keys(0)
    assert sorted(flat(list(sampler))) == sorted(drawn)
    assert {frozenset(batch) for batch in make_sampler({"a": 1.0, "b": 1.0}, window=1)} == {
        frozenset(drawn[at:at + 4]) for at in range(0, len(drawn), 4)}


@pytest.mark.parametrize(("part", "tiles"), [
    (ContentPart("image", pixels=image(8, 8)), 1), (ContentPart("image", pixels=image(16, 8)), 3),
    (ContentPart("video", pixels=np.zeros((9, 8, 8, 3), dtype=np.uint8), frame_rate=3.0), 3),
    (ContentPart("image", path="no.png"), 0),
], ids=["image", "wide image", "video", "missing"])
def test_images_and_videos_count_by_their_tiles(part: ContentPart, tiles: int) -> None:
    mixture = MixtureDataset({"a": [make_row(part, answer="two")]}, SPEC)
    assert mixture.size(("a", 0)) == pytest.approx(SECONDS_PER_TILE * tiles + len("two") / CHARACTERS_PER_SECOND)


def test_empty_dataset_is_refused() -> None:
    with pytest.raises(DataError, match="Dataset a is empty"):
        MixtureDataset({"a": EchoReader(EchoDataset(0))})


def test_batches_from_the_middle_of_a_pass_are_those_of_the_whole_and_measure_nothing_before(
        monkeypatch: pytest.MonkeyPatch) -> None:
    measured: list[SampleKey] = []
    monkeypatch.setattr(MixtureDataset, "size", lambda self, key: measured.append(key) or 1.0 + key[1])
    whole = list(make_sampler(window=2).batches(1))
    measured.clear()
    assert list(make_sampler(window=2).batches_from(1, 3)) == whole[3:]
    assert len(measured) == 20 - 2 * 4
