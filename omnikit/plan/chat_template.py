"""The chat template that lies in a tokenizer's folder: Jinja source, rendered in a sandbox as transformers renders it.

Holds text, not ids; jinja2 is imported when a template is compiled.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from omnikit.contracts.specs import Template
from omnikit.errors import ConfigError
from omnikit.recipe.model_folder import TokenizerFolder, model_folder

if TYPE_CHECKING:
    from jinja2 import Template as JinjaTemplate

AUTO = "auto"  # the name that stands for it
BEGIN, END = "\ufdd0", "\ufdd1"  # around the number of a message: noncharacters, which no text holds
GENERATED, GENERATED_END = "\ufdd2", "\ufdd3"  # around what a template's own {% generation %} encloses
MARKS = (BEGIN, END, GENERATED, GENERATED_END)
ChatMessage = Mapping[str, object]  # role and content


@dataclass(frozen=True)
class ChatProbe:
    """What a template writes around an answer, found by rendering conversations with and without one.

    Args:
        opening: role and position ("first user", "user") → what follows a message where an answer is asked for.
        end: the token that ends an answer.
        closes: the rendering itself ends an answer; else its end is the token that begins the next turn.
    """

    opening: Mapping[str, str]
    end: str
    closes: bool


def auto_template(tokenizer: str) -> Template:
    """Give the chat template of a tokenizer's folder.

    Raises:
        ConfigError: the folder has none, or it does not let an answer be separated from what stands around it.
    """
    named = Path(tokenizer).expanduser()
    folder = named.parent if named.is_file() else model_folder(tokenizer)
    source = TokenizerFolder(folder).chat_template if folder else None
    if folder is None or source is None:
        raise ConfigError(f"template is auto, but tokenizer {tokenizer!r} comes with no chat template"
                          " (chat_template.jinja, or chat_template in tokenizer_config.json); choose a template by name"
                          " with template=NAME.")
    files = TokenizerFolder(folder)
    try:
        found = probe(source, tuple(files.named.items()), files.added)
    except ConfigError as error:
        raise ConfigError(f"The chat template of {folder} {error}; choose a template by name with template=NAME.") from error
    opening = found.opening["first user"]
    specials = tuple(token for token in files.specials if token in source or token in files.named.values())
    used = tuple(token for token in specials if token in opening + found.end)
    return Template(bos="", system="{content}", user="{content}", assistant="", end=found.end, specials=used,
                    chat=source, chat_tokens=files.named, chat_specials=tuple(dict.fromkeys([*files.specials, *files.added])))


@lru_cache(maxsize=32)
def probe(source: str, tokens: tuple[tuple[str, str], ...], added: tuple[str, ...]) -> ChatProbe:
    """Find what a template writes around answers; raises ConfigError, the end of a sentence, where it is ambiguous."""
    user, answer, again = _marked("user", 0), _marked("assistant", 1), _marked("user", 2)
    asked, whole = _untagged(source, tokens, [user], prompt=True), _untagged(source, tokens, [user, answer])
    opening = _behind(asked, 0)
    if opening is None:
        raise ConfigError("leaves a question out or writes it twice")
    if not whole.startswith(asked):
        raise ConfigError("asks for an answer otherwise than it writes one, so that its beginning is ambiguous")
    tail = _behind(whole, 1)
    if tail is None:
        raise ConfigError("leaves an answer out or writes it twice")
    three = _untagged(source, tokens, [user, answer, again], prompt=True)
    later, between = _behind(three, 2), (_behind(three, 1) or "").partition(BEGIN)[0]
    end = first_token(tail, added) or first_token(between, added)
    if not end or later is None:
        raise ConfigError("writes no token that ends an answer, so that its end is ambiguous")
    return ChatProbe({"first user": opening, "user": later}, end, bool(first_token(tail, added)))


def first_token(text: str, tokens: Sequence[str]) -> str:
    """Give the token that stands first in a text, of those that stand there the longest; "" if none does."""
    found = [(text.index(token), -len(token), token) for token in tokens if token and token in text]
    return min(found)[2] if found else ""


def render(source: str, tokens: Sequence[tuple[str, str]], messages: Sequence[ChatMessage], *, prompt: bool = False) -> str:
    """Render messages; with `prompt` also what asks for an answer.

    Raises:
        ConfigError: the template refuses them; its text is the end of a sentence.
    """
    from jinja2 import TemplateError

    try:
        return str(_compiled(source).render(messages=[dict(message) for message in messages], tools=None, documents=None,
                                            add_generation_prompt=prompt, **dict(tokens)))
    except (TemplateError, TypeError, ValueError, LookupError, AttributeError, ArithmeticError, RecursionError) as error:
        raise ConfigError(f"does not take such a conversation ({str(error)[:200] or type(error).__name__})") from error


def _untagged(source: str, tokens: Sequence[tuple[str, str]], messages: Sequence[ChatMessage], *, prompt: bool = False) -> str:
    return render(source, tokens, messages, prompt=prompt).replace(GENERATED, "").replace(GENERATED_END, "")


def _marked(role: str, number: int) -> ChatMessage:
    return {"role": role, "content": f"{BEGIN}{number}{END}"}


def _behind(text: str, number: int) -> str | None:
    """Give what follows a message's mark; None where it does not stand there exactly once."""
    before, _, behind = text.partition(f"{BEGIN}{number}{END}")
    return None if len(before) == len(text) or f"{BEGIN}{number}{END}" in behind else behind


@lru_cache(maxsize=32)
def _compiled(source: str) -> JinjaTemplate:
    """Compile a template in the environment that transformers 5.23 gives them."""
    import jinja2
    from jinja2 import nodes
    from jinja2.ext import Extension
    from jinja2.parser import Parser
    from jinja2.runtime import Macro
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    class Generation(Extension):
        tags = {"generation"}  # noqa: RUF012 - jinja2 declares it so

        def parse(self, parser: Parser) -> nodes.Node:
            line = next(parser.stream).lineno
            body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
            return nodes.CallBlock(self.call_method("_enclosed"), [], [], body).set_lineno(line)

        def _enclosed(self, caller: Macro) -> str:
            return f"{GENERATED}{caller()}{GENERATED_END}"

    environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True,
                                                extensions=[Generation, "jinja2.ext.loopcontrols"])
    environment.filters["tojson"] = _to_json
    environment.globals |= {"raise_exception": _raise, "strftime_now": lambda layout: datetime.now().strftime(layout)}
    try:
        return environment.from_string(source)
    except jinja2.TemplateError as error:
        raise ConfigError(f"is not Jinja ({error})") from error


def _to_json(value: object, ensure_ascii: bool = False, indent: int | None = None,
             separators: tuple[str, str] | None = None, sort_keys: bool = False) -> str:
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def _raise(message: str) -> NoReturn:
    from jinja2 import TemplateError

    raise TemplateError(message)
