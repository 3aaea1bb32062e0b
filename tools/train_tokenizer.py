"""Train conf/tokenizer/tiny.json: byte-level BPE in which every word of the spoken_qa corpus is one token.

    python tools/train_tokenizer.py      # the same file, byte for byte

Any other text is written in smaller pieces. The special tokens of three families of language models are in it, so that their
random tiny versions share it.
"""

from pathlib import Path

from omnikit_spoken_qa.script import texts
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

FILE = Path(__file__).parent.parent / "conf" / "tokenizer" / "tiny.json"
SPECIALS = [
    "<pad>", "<unk>",
    "<s>", "</s>", "[INST]", "[/INST]",  # Mixtral
    "<|begin_of_text|>", "<|end_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>",  # Llama 3
    "<|endoftext|>", "<|im_start|>", "<|im_end|>",  # Qwen
]
ROLES = ["system", "user", "assistant", "\n\n"]
SIZE = 1000  # enough for every word with and without the space before it; training stops earlier when none is left


def main() -> None:
    """Train and write."""
    words = sorted({word for text in texts() for word in text.split()})
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=SIZE, special_tokens=SPECIALS, initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False)
    spaced = [f" {word}" for word in words]
    tokenizer.train_from_iterator(spaced * 50 + words * 10 + ROLES * 50, trainer)
    FILE.parent.mkdir(exist_ok=True)
    tokenizer.save(str(FILE))
    pieces = [word for word in (*words, *spaced) if len(tokenizer.encode(word).ids) > 1]
    assert not pieces, f"words that are more than one token: {pieces}"


if __name__ == "__main__":
    main()
