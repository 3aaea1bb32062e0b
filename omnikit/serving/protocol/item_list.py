"""The items of a Realtime conversation in their order."""

from __future__ import annotations

from collections.abc import Iterator

from omnikit.serving.protocol.fields import ProtocolError
from omnikit.serving.protocol.items import Item

MAX_ITEMS = 4096
ROOT = "root"  # previous_item_id of what shall stand first


class ItemList:
    """Owns the items of one conversation."""

    def __init__(self) -> None:
        self._items: dict[str, Item] = {}
        self._order: list[str] = []

    def __iter__(self) -> Iterator[Item]:
        return (self._items[item_id] for item_id in self._order)

    def __len__(self) -> int:
        return len(self._order)

    def previous(self, item_id: str) -> str | None:
        """Give the id before an item; None for the first."""
        index = self._order.index(item_id)
        return self._order[index - 1] if index else None

    def last(self) -> str | None:
        """Give the id of the last item."""
        return self._order[-1] if self._order else None

    def find(self, item_id: str, code: str) -> Item:
        """Give an item.

        Raises:
            ProtocolError: with `code`; there is no such item.
        """
        if item_id not in self._items:
            raise ProtocolError(f"There is no item with the id {item_id[:64]!r} in the conversation.", code, "item_id")
        return self._items[item_id]

    def check(self, item: Item, previous: str | None = None) -> None:
        """Refuse an item that cannot be put behind `previous`: its id is used, or there is no such place.

        Raises:
            ProtocolError: item_create_duplicate_item_id, previous_item_not_found or conversation_too_long.
        """
        if item.id in self._items:
            raise ProtocolError(f"There is an item with the id {item.id!r} already; choose another.",
                                "item_create_duplicate_item_id", "item.id")
        if previous not in (None, ROOT) and previous not in self._items:
            raise ProtocolError(f"There is no item with the id {str(previous)[:64]!r}, behind which the new one shall stand.",
                                "previous_item_not_found", "previous_item_id")
        if len(self) >= MAX_ITEMS:
            raise ProtocolError(f"The conversation has {MAX_ITEMS} items, which is as many as there may be; begin another"
                                " session.", "conversation_too_long")

    def insert(self, item: Item, previous: str | None = None) -> str | None:
        """Put an item behind another, at the start ("root") or at the end (None); gives the id before it."""
        self.check(item, previous)
        index = len(self._order) if previous is None else 0 if previous == ROOT else self._order.index(previous) + 1
        self._order.insert(index, item.id)
        self._items[item.id] = item
        return self._order[index - 1] if index else None

    def delete(self, item_id: str) -> None:
        """Take an item out."""
        self._order.remove(item_id)
        del self._items[item_id]
