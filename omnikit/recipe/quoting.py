"""Values of overrides in the quotes that Hydra's grammar needs, and overrides in those of the shell."""

import re
import shlex

PLAIN = re.compile(r"(\.{1,2}/)*[A-Za-z_/][A-Za-z0-9_./@?|%*$+-]*")  # what Hydra reads as a text without quotes
WORDS = re.compile(r"null|true|false|nan|inf", re.IGNORECASE)  # which it would read as something else


def quoted(value: str) -> str:
    """Give a text as Hydra's grammar reads it back: as it is where it may stand so, else in double quotes."""
    if PLAIN.fullmatch(value) and not WORDS.fullmatch(value) and "${" not in value:
        return value
    escaped = re.sub(r'(\\*)("|$)', lambda found: found[1] * 2 + ('\\"' if found[2] else ""), value)
    return f'"{escaped}"'


def pasted(key: str, value: str) -> str:
    """Give the override `key=value` as it can be pasted into a shell."""
    return shlex.quote(f"{key}={quoted(value)}")
