"""Text before VITA's speech decoder: every rule on every text."""

from omnikit_vita.spoken_text import drop_marks, drop_uncommon_punctuation, freeze_omni, server, spell_formulas
from parity.case import Case

RULES = {
    "remove_special_tokens": drop_marks,
    "replace_equation": lambda text: spell_formulas(drop_marks(text)),
    "tts_input": server,
    "remove_uncommon_punctuation": lambda text: drop_uncommon_punctuation(drop_marks(text)),
    "pipeline_post_process": freeze_omni,
}


def matches(case: Case) -> bool:
    return any("tts_input" in row for row in case.words_out.get("rows", []))


def replay(case: Case) -> None:
    for row in case.words_out["rows"]:
        for name, rule in RULES.items():
            if name in row:
                case.equal(f"rows[{row['input']!r}] {name}", rule(row["input"]), row[name])
