"""The field's words everywhere (docs/explanation/glossary.md): no film, no Scribe, no model that hears or knows.

`python tests/test_words.py [ROOM]` prints every line with a word that should go.
"""

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[1]
ROOMS = ("omnikit", "plugins", "recipes", "conf", "docs", "tests", "benchmarks", "tools")
ENDINGS = {".py", ".md", ".yaml", ".yml", ".toml", ".jinja", ".css"}
SKIPPED = {  # parts of a path → why none of its words count
    "goldens": "stored outputs of other projects, byte for byte",
    "tokenizers": "files of tokenizers",
    "reference": "docs/reference, generated", "index.md": "generated",
    "__pycache__": "compiled", ".venv": "installed", "site": "generated", "runs": "generated",
}
EVERYWHERE = {  # in code, comments, messages, documentation and YAML; identifiers are cut at underscores and capitals
    "film": "video", "films": "videos", "picture": "image", "pictures": "images",
    "told": "described, given", "teller": "TurnDetector", "telling": "turn detection", "tells": "gives, predicts",
    "hears": "takes, reads", "heard": "transcript, seen", "unheard": "unseen", "sees": "takes, reads", "says": "gives, states",
    "knows": "holds, reads", "wants": "needs", "listens": "reads",
    "inlet": "input branch", "outlet": "output branch", "scribe": "AnswerDecoder", "recital": "SentenceSpeech",
    "sounding": "CodecStream", "emission": "HeadStream", "examiner": "EvalRunner", "judge": "GANLoss",
    "adversary": "discriminators", "ear": "ASR model", "recogniser": "ASR model",
    "enlarge": "extend_embeddings", "ledger": "import report", "piecewise": "safetensors_writer", "aloud": "spoken",
    "mend": "fix", "mends": "fixes", "anew": "from scratch, again", "stranger": "third party", "strangers": "third parties",
    "learnt": "learned, trained", "complaint": "error", "complaints": "errors",
}
IN_NAMES = {  # of classes, functions, arguments, variables and attributes; plain English elsewhere
    "said": "answer_texts, transcript", "sayings": "transcripts", "tell": "predict", "hear": "transcribe, read",
    "hearing": "streaming", "kept": "saved, matched", "odd": "unexpected", "aside": "ignored", "taken": "matched",
    "homes": "conversation_rows", "sound": "audio", "sounds": "audio", "places": "positions", "anyhow": "always",
}
CLASSES = {  # house names that are plain English elsewhere
    "Writer": "IncrementalDetokenizer", "Reading": "SentenceStream", "Pending": "CodeBuffer", "Pace": "ChunkSchedule",
    "Takes": "VocoderBatch", "Cuts": "CodecBatch", "Shares": "MixtureSampler", "Buckets": "LengthBucketSampler",
    "Packs": "PackingSampler", "Mixture": "MixtureDataset", "Stored": "LazyTensor", "Published": "CheckpointTensors",
    "Built": "BuildReport", "Kept": "EvalRun", "Turn": "RotaryAngles", "Room": "KVCache", "Joined": "KVCache",
    "Past": "KVCache", "Places": "KVCache", "Together": "CombinedOptimizer", "Again": "CodecRoundTrip",
}
FILES = {  # stems of modules and pages
    "turns": "turn_detection", "told": "turn_detection", "words": "spoken_text", "pieces": "tokenise", "supervision": "labels",
    "look": "inspect", "deep": "dry_run", "rows": "data_check", "spectra": "spectral_losses", "fidelity": "audio_metrics",
    "controls": "ablations", "numbers": "aggregate", "answering": "runner", "exchange": "import_export", "lock": "manifest",
    "specs_": "specs", "speaking": "protocols", "choices": "presets", "explain": "hydra_errors", "refusals": "validation",
    "extending": "inheritance", "finding": "resolve", "wiring": "graph", "staging": "stages", "fitting": "codec_stages",
    "supplies": "data_checks", "places": "paths", "building": "builders", "card": "report", "segments": "wav_writer",
}
PHRASES = {  # whole texts
    r"asked aloud": "spoken question", r"written down": "transcribed", r"first sound": "time to first audio",
    r"first text": "time to first token", r"codes used": "codebook utilisation", r"number format": "dtype",
    r"[\dN] wide\b": "hidden size N", r"lock\.json": "manifest.json", r"exact_with_other_audio": "shuffled_audio",
    r"\bwhich is no (?!longer|such)": "which is not a",
}
ALLOWED = (  # (path, word or phrase, why); a path ending in / is a folder
    ("tests/test_words.py", "", "the lists themselves"),
    ("docs/news/0.1.0.md", "", "names what was renamed"),
    ("omnikit/data/media/stated_sizes.py", "tell", "a method of Python's files"),
    ("plugins/tiny_world/README.md", "picture", "text of a question"),
    ("plugins/tiny_world/README.md", "film", "text of a question"),
    ("plugins/tiny_world/omnikit_tiny_world/scenes.py", "picture", "text of a question"),
    ("plugins/tiny_world/omnikit_tiny_world/scenes.py", "film", "text of a question, and a name that seeds draws"),
    ("plugins/tiny_world/omnikit_tiny_world/side_talk.py", "film", "a text that is spoken"),
    ("plugins/tiny_world/omnikit_tiny_world/script.py", "film", "a name that seeds draws"),
    ("plugins/tiny_world/omnikit_tiny_world/script.py", "films", "a name that seeds draws"),
    ("plugins/tiny_world/omnikit_tiny_world/script.py", "pictures", "a name that seeds draws"),
    ("plugins/tiny_world/omnikit_tiny_world/words.py", "words", "the words of the language"),
    ("plugins/spoken_instructions/omnikit_spoken_instructions/rewriter.py", "aloud", "text of a prompt"),
    ("plugins/spoken_instructions/README.md", "judge", "plain English"),
    ("recipes/llama_omni/README.md", "judge", "a language model as judge: the field's term"),
    ("recipes/vita_1_5/README.md", "picture", "text of a question"),
    ("plugins/spoken_turns/omnikit_spoken_turns/rows.py", "rows", "makes the rows of a dataset"),
    ("plugins/spoken_instructions/omnikit_spoken_instructions/rows.py", "rows", "makes the rows of a dataset"),
    ("plugins/spoken_instructions/omnikit_spoken_instructions/numbers.py", "numbers", "spells numbers out"),
)
OPEN: dict[str, int] = {}  # room → words that are still to be changed; only ever gets smaller


class Hit(NamedTuple):
    """One word to be replaced."""

    path: str
    line: int
    word: str
    instead: str


def files(room: str) -> list[Path]:
    return [path for path in sorted((ROOT / room).rglob("*")) if path.suffix in ENDINGS and path.is_file()
            and not set(path.relative_to(ROOT).parts) & set(SKIPPED)
            and not path.is_relative_to(ROOT / "docs" / "recipes")]  # generated as well


def words(text: str) -> list[str]:
    """Cut at everything that is no letter, and at capitals: `HeardTexts_told` → heard, texts, told."""
    return [word.lower() for word in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+", text)]


def names(tree: ast.AST) -> Iterator[tuple[str, int]]:
    """Give what a module names: classes, functions, arguments, variables, attributes that it sets, keywords."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield node.name, node.lineno
        elif isinstance(node, ast.arg):
            yield node.arg, node.lineno
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id, node.lineno
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield node.attr, node.lineno


def hits(path: Path) -> Iterator[Hit]:
    name, text = path.relative_to(ROOT).as_posix(), path.read_text(encoding="utf-8")
    for number, line in enumerate(text.splitlines(), 1):
        yield from (Hit(name, number, word, EVERYWHERE[word]) for word in words(line) if word in EVERYWHERE)
        yield from (Hit(name, number, phrase, instead) for phrase, instead in PHRASES.items() if re.search(phrase, line))
    if path.stem in FILES:
        yield Hit(name, 0, path.stem, FILES[path.stem])
    yield from (Hit(name, 0, word, EVERYWHERE[word]) for word in words(name) if word in EVERYWHERE)
    if path.suffix == ".py":
        for found, number in names(ast.parse(text)):
            if found in CLASSES:
                yield Hit(name, number, found, CLASSES[found])
            yield from (Hit(name, number, word, IN_NAMES[word]) for word in words(found) if word in IN_NAMES)


def allowed(hit: Hit) -> bool:
    return any((hit.path.startswith(path) if path.endswith("/") else hit.path == path) and word in ("", hit.word)
               for path, word, _ in ALLOWED)


def found(room: str) -> list[Hit]:
    return [hit for path in files(room) for hit in hits(path) if not allowed(hit)]


def rooms() -> list[str]:
    """The folders of omnikit and the plugins one by one, and the other top folders."""
    inner = sorted(path.name for path in (ROOT / "omnikit").iterdir() if path.is_dir() and path.name not in SKIPPED)
    plugins = sorted(path.name for path in (ROOT / "plugins").iterdir() if path.is_dir() and path.name not in SKIPPED)
    return [*(f"omnikit/{name}" for name in inner), *(f"plugins/{name}" for name in plugins),
            *(room for room in ROOMS if room not in ("omnikit", "plugins"))]


@pytest.mark.parametrize("room", rooms())
def test_words_are_the_field_s(room: str) -> None:
    left = [f"{hit.path}:{hit.line}: {hit.word}; use {hit.instead}" for hit in found(room)]
    assert len(left) <= OPEN.get(room, 0), "\n".join(left)


def test_files_beside_the_rooms_use_the_field_s_words() -> None:
    paths = [*(ROOT / "omnikit").glob("*.py"), ROOT / "README.md", ROOT / "mkdocs.yml", ROOT / "pyproject.toml"]
    left = [hit for path in paths for hit in hits(path) if not allowed(hit)]
    assert len(left) <= OPEN.get("beside", 0), left


@pytest.mark.parametrize(("path", "word", "why"), ALLOWED, ids=[f"{path} {word}" for path, word, _ in ALLOWED])
def test_what_is_allowed_has_a_reason_and_is_still_there(path: str, word: str, why: str) -> None:
    inside = files(path) if path.endswith("/") else [ROOT / path]
    assert why and any(word in ("", hit.word) for file in inside for hit in hits(file))


if __name__ == "__main__":
    for room in sys.argv[1:] or rooms():
        for hit in found(room):
            sys.stdout.write(f"{hit.path}:{hit.line}: {hit.word} → {hit.instead}\n")
