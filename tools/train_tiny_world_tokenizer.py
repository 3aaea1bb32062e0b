"""Train the tokenizers of plugins/tiny_world: byte-level BPE, each English word and Chinese character one token.

    python tools/train_tiny_world_tokenizer.py      # the same files, byte for byte

`tiny_world` has both languages, `tiny_world_english` the English words alone: an old vocabulary that `omnikit tokenizer extend`
may extend. The three state characters of VITA-1.5 are one token each in both.
"""

import re
from pathlib import Path

from omnikit_tiny_world.sentences import texts
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

FOLDER = Path(__file__).parent.parent / "plugins" / "tiny_world" / "omnikit_tiny_world" / "conf" / "tokenizer"
SPECIALS = [
    "<pad>", "<unk>",
    "<s>", "</s>", "[INST]", "[/INST]",  # Mixtral
    "<|endoftext|>", "<|im_start|>", "<|im_end|>",  # Qwen
]
ROLES = ["system", "user", "assistant", "bot", "\n\n"]
STATES = ["☞", "☟", "☜"]  # of an answer: to audio, to noise, to text
SIZE = 1500  # enough for every word with and without the space before it; training stops earlier when none is left


def main() -> None:
    """Train and write both."""
    english = sorted({word for text in texts() for word in re.findall("[a-z]+", text)})
    mandarin = sorted({letter for text in texts() for letter in text if letter > "\u3000"})
    train("tiny_world_english", english, STATES)
    train("tiny_world", english, mandarin + STATES)


def train(name: str, words: list[str], signs: list[str]) -> None:
    """Write one tokenizer in which all of these are one token."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=SIZE, special_tokens=SPECIALS, initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False)
    spaced = [f" {word}" for word in words]
    tokenizer.train_from_iterator(spaced * 50 + words * 10 + (ROLES + signs) * 50, trainer)
    FOLDER.mkdir(exist_ok=True)
    tokenizer.save(str(FOLDER / f"{name}.json"))
    pieces = [word for word in (*words, *spaced, *signs) if len(tokenizer.encode(word).ids) > 1]
    assert not pieces, f"words that are more than one token: {pieces}"


if __name__ == "__main__":
    main()
