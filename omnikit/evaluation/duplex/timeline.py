"""A conversation as a drawing (SVG): the user's audio, the model's, and the events, over time."""

from __future__ import annotations

from html import escape
from math import ceil

from omnikit.evaluation.duplex.conversation import Conversation, PeerEvent
from omnikit.evaluation.duplex.scenario import ADDRESSED, QUIET

WIDTH, LEFT, RIGHT = 940, 74, 10  # px
USER, MODEL, EVENTS, AXIS, HEIGHT = 24, 66, 108, 134, 158  # px from the top
BAR, SPACE = 26, 11  # px: height of a bar, between two events
COLOURS = {"asked": "#1f5f99", "fragment": "#7fb0d8", "ignored": "#c45a00", "model": "#2c7a4b", "stop": "#b00020"}
MARKS = {"speech_started": ("▸", "speech began"), "speech_stopped": ("◂", "speech ended"),
         "turn_decided": ("?", "turn decided"),
         "answer_started": ("A", "answer began"), "paused": ("‖", "held back"), "resumed": ("▶", "resumed"),
         "interrupted": ("■", "interrupted"), "answer_done": ("·", "answer complete"), "error": ("!", "error")}


def timeline(conversation: Conversation) -> str:
    """Draw a conversation; every mark has its time in its title."""
    seconds = max(conversation.seconds, 1.0)

    def x(milliseconds: float) -> float:
        return round(LEFT + (WIDTH - LEFT - RIGHT) * milliseconds / 1000 / seconds, 1)

    name = escape(conversation.scenario.id, quote=True)
    parts = [f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="timeline of {name}" font-size="12">']
    parts += [f'<text x="0" y="{y}">{text}</text>' for y, text in
              ((USER + 17, "user"), (MODEL + 17, "model"), (EVENTS + 10, "events"))]
    parts += _axis(seconds, x(1000) - x(0))
    for span in conversation.spans:
        if (kind := span.element.kind) not in QUIET:
            colour = COLOURS["asked" if kind in ADDRESSED else "fragment" if kind == "fragment" else "ignored"]
            label = span.element.text or kind
            parts.append(_bar(USER, x(span.start), x(span.end), colour, f"{kind}: {label}, {_time(span.start, span.end)}"))
            parts.append(f'<text x="{x(span.start)}" y="{USER - 6}" font-size="11">{escape(kind.replace("_", " "))}</text>')
    parts += [_bar(MODEL, x(one.start), x(one.end), COLOURS["model"], f"{one.item}, {_time(one.start, one.end)}")
              for one in conversation.segments]
    parts += [f'<line x1="{x(at)}" x2="{x(at)}" y1="{MODEL - 6}" y2="{MODEL + BAR + 6}" stroke="{COLOURS["stop"]}"'
              f' stroke-width="2"><title>{escape(item)} stopped at {at / 1000:.2f} s</title></line>'
              for at, item in conversation.stops]
    place = -float(SPACE)
    for event in conversation.events:
        if event.kind in MARKS:
            place = max(x(event.at), round(place + SPACE, 1))  # beside one another where they come together
            parts.append(_mark(event, place))
    return "".join([*parts, "</svg>"])


def _mark(event: PeerEvent, place: float) -> str:
    sign, meaning = MARKS[event.kind]
    title = f"{meaning} {event.text}".strip() + f" at {event.at / 1000:.2f} s"
    return f'<text x="{place}" y="{EVENTS + 10}" text-anchor="middle">{sign}<title>{escape(title)}</title></text>'


def _axis(seconds: float, per_second: float) -> list[str]:
    parts = [f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{AXIS}" y2="{AXIS}" stroke="#888"/>']
    step = max(1, ceil(48 / per_second))
    for second in range(0, int(seconds) + 1, step):
        place = round(LEFT + per_second * second, 1)
        parts.append(f'<line x1="{place}" x2="{place}" y1="{AXIS}" y2="{AXIS + 4}" stroke="#888"/>'
                     f'<text x="{place}" y="{AXIS + 17}" text-anchor="middle" font-size="11">{second} s</text>')
    return parts


def _bar(top: int, start: float, end: float, colour: str, title: str) -> str:
    return (f'<rect x="{start}" y="{top}" width="{max(round(end - start, 1), 1)}" height="{BAR}" rx="2" fill="{colour}">'
            f"<title>{escape(title)}</title></rect>")


def _time(start: float, end: float) -> str:
    return f"{start / 1000:.2f} to {end / 1000:.2f} s"
