"""Stored features: complete or absent, shared by processes, bounded."""

import logging
import os
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from omnikit.store import feature_store
from omnikit.store.feature_store import FeatureStore

LIMIT = 1 << 20


def row(number: int, size: int = 8) -> list[torch.Tensor]:
    return [torch.full((size, 4), float(number)), torch.full((2, 4), -float(number))]


def equal(found: list[torch.Tensor] | None, expected: list[torch.Tensor]) -> bool:
    return found is not None and len(found) == len(expected) and all(map(torch.equal, found, expected))


def test_rows_are_read_before_and_after_they_are_written_and_by_other_processes(tmp_path: Path) -> None:
    store = FeatureStore(tmp_path / "a", LIMIT)
    store.put("one", row(1))
    assert equal(store.get("one"), row(1)) and store.get("two") is None
    store.flush()
    assert equal(store.get("one"), row(1)) and equal(FeatureStore(tmp_path / "a", LIMIT).get("one"), row(1))


def test_types_and_many_items_come_back(tmp_path: Path) -> None:
    store, items = FeatureStore(tmp_path / "a", LIMIT), [torch.full((1, 2), index).bfloat16() for index in range(12)]
    store.put("one", items)
    store.flush()
    assert equal(store.get("one"), items)


def test_shards_of_another_process_are_found_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one, other = FeatureStore(tmp_path / "a", LIMIT), FeatureStore(tmp_path / "a", LIMIT)
    other.put("one", row(1))
    other.flush()
    assert one.get("one") is None
    monkeypatch.setattr(feature_store, "LOOK_AGAIN", 0.0)
    assert equal(one.get("one"), row(1))


def test_a_shard_is_written_when_it_is_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feature_store, "SHARD", 400)
    store = FeatureStore(tmp_path / "a", LIMIT)
    for number in range(6):
        store.put(str(number), row(number))
    assert len(list((tmp_path / "a").iterdir())) == 2 and len(store) == 6


def test_what_is_beyond_the_limit_is_not_stored(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    store = FeatureStore(tmp_path / "a", 500)
    store.put("one", row(1))
    store.flush()
    store.put("two", row(2, 32))
    with caplog.at_level(logging.WARNING):
        store.flush()
    store.put("three", row(3))
    store.flush()
    assert equal(store.get("one"), row(1)) and store.get("two") is None and store.get("three") is None
    assert "which is the limit (trainer.cache_gib)" in caplog.text


def test_the_least_recently_used_store_makes_room_and_is_read_on_by_who_has_it_open(tmp_path: Path) -> None:
    old, new = FeatureStore(tmp_path / "old", LIMIT), FeatureStore(tmp_path / "new", LIMIT)
    for store in (old, new):
        store.put("one", row(1))
        store.flush()
    os.utime(tmp_path / "old", (1, 1))
    third = FeatureStore(tmp_path / "third", 100 + sum(file.stat().st_size for file in tmp_path.glob("*/*")))
    third.put("one", row(3))
    third.flush()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["new", "third"]
    assert equal(old.get("one"), row(1))


def test_a_shard_that_was_cut_short_is_computed_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    store = FeatureStore(tmp_path / "a", LIMIT)
    store.put("one", row(1))
    store.flush()
    shard = next((tmp_path / "a").iterdir())
    shard.write_bytes(shard.read_bytes()[:-10])
    assert FeatureStore(tmp_path / "a", LIMIT).get("one") is None
    assert "its features are computed again" in caplog.text


def test_a_row_that_is_not_what_was_written_is_computed_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    store = FeatureStore(tmp_path / "a", LIMIT)
    store.put("one", row(1))
    store.flush()
    shard = next((tmp_path / "a").iterdir())
    shard.write_bytes(shard.read_bytes()[:-3] + b"\xff\xff\xff")
    again = FeatureStore(tmp_path / "a", LIMIT)
    assert again.get("one") is None and again.get("one") is None
    assert [record.message for record in caplog.records] == [
        f"{shard} is damaged: a row in it is not what was written; it is computed again."]


def test_a_shard_without_checksums_is_computed_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "a").mkdir()
    save_file({"one.0": torch.zeros(2), "other": torch.zeros(2)}, tmp_path / "a/x.safetensors")
    assert FeatureStore(tmp_path / "a", LIMIT).get("one") is None
    assert "has no checksums of its rows; its features are computed again" in caplog.text
