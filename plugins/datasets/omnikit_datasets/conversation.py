"""Conversations of other projects become messages: LLaVA, ShareGPT, ms-swift, OpenAI. Media stay paths or bytes.

Turns stand under conversations, conversation or messages, each {from, value} or {role, content}; or as query, response and
history (ms-swift). Media stand in lists beside them, with <image>, <audio> and <video> in the questions, or in the content.
"""

import re
from collections.abc import Iterator, Mapping, Sequence

from omnikit.contracts.types import ContentPart, Message, Sample
from omnikit.errors import DataError
from omnikit_datasets.raw_row import RawRow

TURNS = ("conversations", "conversation", "messages")
ROLES = {"human": "user", "user": "user", "gpt": "assistant", "assistant": "assistant", "chatgpt": "assistant",
         "bot": "assistant", "model": "assistant", "system": "system", "developer": "system"}
FILES = {"image": ("images", "image"), "audio": ("audios", "audio", "speech"), "video": ("videos", "video")}
PLACEHOLDER = re.compile("<(image|video|audio|speech)>")
CONTENT = {"text": "text", "input_text": "text", "output_text": "text", "image": "image", "image_url": "image",
           "input_image": "image", "audio": "audio", "audio_url": "audio", "input_audio": "audio", "video": "video",
           "video_url": "video", "input_video": "video"}


def is_conversation(values: Mapping[str, object]) -> bool:
    """Say whether a row holds turns."""
    return any(key in values for key in (*TURNS, "query")) and not ("query" in values and "response" not in values)


def has_media_parts(values: Mapping[str, object]) -> bool:
    """Say whether a row's turns hold media as parts of their content."""
    turns = next((found for key in TURNS if isinstance(found := values.get(key), list)), [])
    contents = [turn["content"] for turn in turns if isinstance(turn, dict) and isinstance(turn.get("content"), list)]
    return any(isinstance(part, dict) and CONTENT.get(str(part.get("type")), "text") != "text" for content in contents
               for part in content)


def conversation(row: RawRow) -> Sample:
    """Give the conversation of a row.

    Raises:
        DataError: it is not one; the sentence names file, row and key.
    """
    turns = _turns(row)
    messages = [_message(row, turn, where) for turn, where in turns]
    system = row.values.get("system")
    if system is not None and messages[0].role != "system":
        messages.insert(0, Message("system", (ContentPart("text", row.text(system, "system")),)))
    files = {kind: [row.medium(kind, value, f"{keys[0]}[{i}]") for i, value in enumerate(row.list(*keys))]
             for kind, keys in FILES.items()}
    return Sample(_name(row), tuple(_placed(row, messages, files)))


def _name(row: RawRow) -> str:
    found = row.values.get("id")
    if isinstance(found, list):
        return "+".join(map(str, found))
    return str(found) if isinstance(found, str | int) and str(found) else row.name


def _turns(row: RawRow) -> list[tuple[Mapping[str, object], str]]:
    key = next((key for key in TURNS if row.values.get(key) is not None), None)
    if key is None and row.values.get("query") is not None:
        return _history(row)
    turns = row.values.get(key or TURNS[0])
    if not isinstance(turns, list) or not turns:
        row.refuse(key or " or ".join(TURNS), turns, "a list of at least one turn")
    for index, turn in enumerate(turns):
        if not isinstance(turn, dict):
            row.refuse(f"{key}[{index}]", turn, "an object with a role and a content")
    return [(turn, f"{key}[{index}]") for index, turn in enumerate(turns)]


def _history(row: RawRow) -> list[tuple[Mapping[str, object], str]]:
    """Give the turns of ms-swift's {query, response, history: [[query, response], …]}."""
    pairs = row.list("history")
    for index, pair in enumerate(pairs):
        if not isinstance(pair, list) or len(pair) != 2:
            row.refuse(f"history[{index}]", pair, "a list of a question and its answer")
    spoken = [(pair, f"history[{index}]") for index, pair in enumerate(pairs) if isinstance(pair, list)]
    turns: list[tuple[Mapping[str, object], str]] = []
    for (question, answer), where in [*spoken, ([row.values.get("query"), row.values.get("response")], "query and response")]:
        turns += [({"role": "user", "content": question}, where), ({"role": "assistant", "content": answer}, where)]
    return turns


def _message(row: RawRow, turn: Mapping[str, object], where: str) -> Message:
    who = turn.get("from", turn.get("role"))
    if not isinstance(who, str) or who.lower() not in ROLES:
        row.refuse(f"{where}.{'from' if 'from' in turn else 'role'}", who, f"one of {', '.join(ROLES)}", "wrong roles")
    role = ROLES[who.lower()]
    if turn.get("tool_calls") or turn.get("function_call"):
        raise DataError(f"{row.place}: {where} calls a tool, but answers are text or speech; leave the row out.",
                        kind="tool call")
    if role == "assistant" and (turn.get("weight") == 0 or turn.get("loss") is False):
        raise DataError(f"{row.place}: {where} is an answer that shall not be trained (weight 0), but every answer is trained;"
                        " cut the conversation into rows.", kind="untrained answer")
    content = next((turn[key] for key in ("value", "content", "text") if turn.get(key) is not None), None)
    if isinstance(content, str):
        return Message(role, (ContentPart("text", content),))
    if not isinstance(content, list) or not content:
        row.refuse(f"{where}.content", content, "a text or a list of at least one part")
    return Message(role, tuple(_part(row, part, f"{where}.content[{i}]") for i, part in enumerate(content)))


def _part(row: RawRow, part: object, where: str) -> ContentPart:
    if isinstance(part, str):
        return ContentPart("text", part)
    kind = part.get("type") if isinstance(part, Mapping) else None
    if not isinstance(part, Mapping) or not isinstance(kind, str) or kind not in CONTENT:
        row.refuse(f"{where}.type", kind if isinstance(part, Mapping) else part, f"one of {', '.join(CONTENT)}")
    if CONTENT[kind] == "text":
        return ContentPart("text", row.text(part.get("text"), f"{where}.text"))
    value = next((part[key] for key in (kind, "bytes", "path", "url", CONTENT[kind]) if part.get(key) is not None), None)
    text = part.get("text", part.get("transcript"))
    transcript = None if text is None else row.text(text, f"{where}.text")
    if kind == "input_audio" and isinstance(value, Mapping) and "data" in value:
        return ContentPart("audio", transcript, data=row.decoded(value["data"], f"{where}.input_audio.data"))
    return row.medium(CONTENT[kind], value, f"{where}.{kind}", transcript)


def _placed(row: RawRow, messages: Sequence[Message], files: Mapping[str, list[ContentPart]]) -> Iterator[Message]:
    """Put the files of the lists where the questions have placeholders; without any, before the first question."""
    texts = [part.text or "" for message in messages if message.role != "assistant" for part in message.content
             if part.type == "text"]
    named = ["audio" if kind == "speech" else kind for text in texts for kind in PLACEHOLDER.findall(text)]
    first = []
    for kind, found in files.items():
        inside = sum(part.type == kind for message in messages for part in message.content)
        if named.count(kind) == 0 or (inside and not found):
            first += found
        elif named.count(kind) != len(found):
            raise DataError(f"{row.place}: there are {named.count(kind)} <{kind}> in the questions, but {len(found)} files in"
                            f" {FILES[kind][0]}; write one for each file.", kind="placeholders")
    left = {kind: iter(found) for kind, found in files.items() if named.count(kind) and found}
    for message in messages:
        content = message.content
        if message.role != "assistant":
            content = tuple(piece for part in content for piece in (_spread(part, left) if part.type == "text" else [part]))
        if message.role == "user" and first:
            content, first = (*first, *content), []
        if not content:
            row.refuse("a question", "", "a text or media")
        yield Message(message.role, content, message.state, message.cut)


def _spread(part: ContentPart, files: Mapping[str, Iterator[ContentPart]]) -> Iterator[ContentPart]:
    """Cut a text at its placeholders; the line breaks beside one are its own."""
    pieces = PLACEHOLDER.split(part.text or "")
    kinds = ["audio" if kind == "speech" else kind for kind in pieces[1::2]]
    if not kinds or not all(kind in files for kind in kinds):  # a text that only looks so
        yield part
        return
    for index, text in enumerate(pieces[::2]):
        cut = text.removeprefix("\n") if index else text
        cut = cut.removesuffix("\n") if index < len(kinds) else cut
        if cut.strip():
            yield ContentPart("text", cut)
        if index < len(kinds):
            yield next(files[kinds[index]])
