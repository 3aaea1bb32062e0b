"""Text to token ids and back, without added special tokens unless they are asked for."""

import re
from collections.abc import Iterable, Mapping
from functools import cache, cached_property, lru_cache
from typing import Protocol

from omnikit.errors import ConfigError

CACHE_SIZE = 512  # segments, about 1 kB each; headers and prompts are the same in every row, what users write is not
CACHED_CHARACTERS = 256  # of a cached segment: a longer one hardly ever comes again, and would fill the memory
SHOWN = 16  # characters of a text in a message
CONTROL = re.compile(r"<[|\uff5c].+[|\uff5c]>|\[/?[A-Z_]+\]")


class TextCoder(Protocol):
    """The methods that a tokenizer must have; transformers' have them."""

    def __len__(self) -> int: ...
    def encode(self, text: str, /, *, add_special_tokens: bool) -> list[int]: ...
    def decode(self, ids: list[int], /, *, skip_special_tokens: bool) -> object: ...


class AddedToken(Protocol):
    """A token beside a tokenizer's model; `str` gives its text."""

    special: bool
    lstrip: bool
    rstrip: bool
    single_word: bool
    normalized: bool


def is_control(token: AddedToken) -> bool:
    """Say whether a token steers a conversation: marked as special, or written like one that is."""
    return bool(str(token)) and (token.special or bool(CONTROL.fullmatch(str(token))))


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

    def letters(self, text: str) -> list[int]:
        """Give the ids of a text in which the names of control tokens are letters."""
        found, at = list[int](), 0
        pattern = self._joined_pattern
        for match in pattern.finditer(text) if pattern else ():  # these it would join whatever it is asked
            found += self._letters(text[at: match.start() + 1])
            at = match.start() + 1
        return found + self._letters(text[at:])

    def _letters(self, text: str) -> list[int]:
        return [] if not text else list(self.coder.encode(text, add_special_tokens=False, split_special_tokens=True))  # type: ignore[call-arg]  # of transformers

    def control_tokens(self, text: str, begin: int, end: int) -> list[tuple[int, int]]:
        """Give where in a text the names of control tokens stand."""
        pattern = self._control_pattern
        return [match.span() for match in pattern.finditer(text, begin, end)] if pattern else []

    @cached_property
    def strict_tokens(self) -> dict[str, int]:
        """Control tokens that take nothing of what stands around them → id."""
        return {str(token): index for index, token in self._added.items() if is_control(token) and not (
            token.lstrip or token.single_word or token.normalized)}

    @cached_property
    def strict_ids(self) -> frozenset[int]:
        """Their ids."""
        return frozenset(self.strict_tokens.values())

    @cached_property
    def _added(self) -> "Mapping[int, AddedToken]":
        found: Mapping[int, AddedToken] = getattr(self.coder, "added_tokens_decoder", {})
        return found

    @cached_property
    def _control_pattern(self) -> re.Pattern[str] | None:
        return _any_of(str(token) for token in self._added.values() if is_control(token))

    @cached_property
    def _joined_pattern(self) -> re.Pattern[str] | None:
        return _any_of(str(token) for token in self._added.values() if is_control(token) and not token.special)

    def text(self, ids: list[int]) -> str:
        """Give the text of `ids`, without special tokens and without space around it."""
        return self.raw(ids).strip()

    def raw(self, ids: list[int]) -> str:
        """Give the text of `ids`, without special tokens."""
        return str(self.coder.decode(ids, skip_special_tokens=True))

    def text_with_specials(self, ids: list[int]) -> str:
        """Give the text of `ids`, with special tokens."""
        return str(self.coder.decode(ids, skip_special_tokens=False))

    def shown(self, index: int, text: str) -> str:
        """Give the text that an id stands for, or the vocabulary's own token where the id loses something of it."""
        if text.split() == self.text_with_specials([index]).split() or "\ufffd" in self.text_with_specials([index]):
            return text
        return str(self.coder.convert_ids_to_tokens(index))  # type: ignore[attr-defined]  # transformers'

    def loss(self, text: str) -> str:
        """Say what of a text its ids do not hold; "" if they hold all of it but for space."""
        ids = self.letters(text)
        unknown = getattr(self.coder, "unk_token_id", None)
        if unknown is not None and unknown in ids:
            return f"writes {text_around(text, self._unknown_at(ids, text, unknown))!r} with its token for unknown text"
        back = str(self.coder.decode(ids, skip_special_tokens=False))
        if "".join(back.split()) == "".join(text.split()):
            return ""
        at = next((index for index, pair in enumerate(zip(text, back, strict=False)) if pair[0] != pair[1]), 0)
        return f"reads {text_around(text, at)!r} as {text_around(back, at)!r}"

    def _unknown_at(self, ids: list[int], text: str, unknown: int) -> int:
        try:
            return self.offsets(text, letters=True)[ids.index(unknown)][0]
        except (ConfigError, LookupError):
            return 0

    def offsets(self, text: str, *, letters: bool = False) -> list[tuple[int, int]]:
        """Give where in `text` each of its ids begins and ends; raises ConfigError where the tokenizer cannot give that.

        Args:
            letters: of those that `letters` gives.
        """
        options = {"split_special_tokens": True} if letters else {}
        try:
            found = self.coder(text, add_special_tokens=False, return_offsets_mapping=True, **options)  # type: ignore[operator]  # transformers'
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


def text_around(text: str, position: int) -> str:
    """Give some of a text from a position on."""
    return text[position: position + SHOWN]


def _any_of(texts: Iterable[str]) -> re.Pattern[str] | None:
    """Give the pattern of the longest of some texts at each place."""
    names = sorted(set(texts), key=len, reverse=True)
    return re.compile("|".join(map(re.escape, names))) if names else None


@cache
def load(reference: str) -> Tokenizer:
    """Load a tokenizer by reference, see omnikit.store.tokenizer_files.load_tokenizer."""
    from omnikit.store.tokenizer_files import load_tokenizer

    return Tokenizer(load_tokenizer(reference))
