"""Text to token ids and back, without added special tokens unless they are asked for."""

from functools import cache, lru_cache
from typing import Protocol

from omnikit.errors import ConfigError

CACHE_SIZE = 512  # segments, about 1 kB each; headers and prompts are the same in every row, what users write is not
CACHED_CHARACTERS = 256  # of a cached segment: a longer one hardly ever comes again, and would fill the memory


class TextCoder(Protocol):
    """The methods that a tokenizer must have; transformers' have them."""

    def __len__(self) -> int: ...
    def encode(self, text: str, /, *, add_special_tokens: bool) -> list[int]: ...
    def decode(self, ids: list[int], /, *, skip_special_tokens: bool) -> object: ...


class Tokenizer:
    """A tokenizer that adds nothing by itself, drops special tokens when it decodes ids, and caches what it encoded."""

    def __init__(self, coder: TextCoder) -> None:
        self.coder = coder
        self._encode = lru_cache(CACHE_SIZE)(self._encode_uncached)

    def __len__(self) -> int:
        """Give the number of ids."""
        return len(self.coder)

    def ids(self, text: str, *, special: bool = False) -> list[int]:
        """Give the ids of `text`; with `special` also what its tokenizer.json puts around a text (Llama 3: its BOS)."""
        return list(self._encode(text, special) if len(text) <= CACHED_CHARACTERS else self._encode_uncached(text, special))

    def text(self, ids: list[int]) -> str:
        """Give the text of `ids`, without special tokens and without space around it."""
        return self.raw(ids).strip()

    def raw(self, ids: list[int]) -> str:
        """Give the text of `ids`, without special tokens."""
        return str(self.coder.decode(ids, skip_special_tokens=True))

    def text_with_specials(self, ids: list[int]) -> str:
        """Give the text of `ids`, with special tokens."""
        return str(self.coder.decode(ids, skip_special_tokens=False))

    def offsets(self, text: str) -> list[tuple[int, int]]:
        """Give where in `text` each of its ids begins and ends; raises ConfigError where the tokenizer cannot give that."""
        try:
            found = self.coder(text, add_special_tokens=False, return_offsets_mapping=True)  # type: ignore[operator]  # transformers'
        except (TypeError, NotImplementedError) as error:
            raise ConfigError("The tokenizer gives no character offsets of its tokens; use one with a"
                              " tokenizer.json.") from error
        return [(int(start), int(end)) for start, end in found["offset_mapping"]]

    def __getstate__(self) -> TextCoder:
        return self.coder

    def __setstate__(self, coder: TextCoder) -> None:
        self.__init__(coder)  # type: ignore[misc]  # a cache does not travel to a worker

    def _encode_uncached(self, text: str, special: bool) -> tuple[int, ...]:
        return tuple(self.coder.encode(text, add_special_tokens=special))


@cache
def load(reference: str) -> Tokenizer:
    """Load a tokenizer by reference, see omnikit.store.tokenizer_files.load_tokenizer."""
    from omnikit.store.tokenizer_files import load_tokenizer

    return Tokenizer(load_tokenizer(reference))
