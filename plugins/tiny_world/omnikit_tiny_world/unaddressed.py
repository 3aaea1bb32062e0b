"""Rows of what nobody asks the model: statements, sounds, signs of attention, talk to others, the model's own voice."""

import random
from collections.abc import Callable
from typing import Literal

from omnikit.data.build.recordings import Utterance
from omnikit_tiny_world import side_talk, statements
from omnikit_tiny_world.config import TinyWorld
from omnikit_tiny_world.row import LanguageIndex, Row, in_answer_voice, question_utterance
from omnikit_tiny_world.sentences import random_text
from omnikit_tiny_world.sounds import LIVE_NOISES, NOISES
from omnikit_tiny_world.words import LANGUAGES

Kind = Literal["statement", "sound", "backchannel", "side_talk", "echo"]
BABBLE_VOICES = 5
REPLIES = {"backchannel": ("i see", "好的"), "side_talk": ("i hear you", "我听到你")}


def _statement(config: TinyWorld, name: str, index: LanguageIndex, rng: random.Random) -> Row:
    number, language = index
    training, held = statements.divide(language, config.seed)
    item = rng.choice(training) if config.split == "train" else held[number % len(held)]
    utterance = question_utterance(item.text, language, config.split, rng)
    return Row(name, language, "statement", item.text, item.reply, utterance=utterance, state="noise")


def _noise(config: TinyWorld, name: str, index: LanguageIndex, rng: random.Random) -> Row:
    number, language = index
    kinds = LIVE_NOISES if config.live else NOISES
    kind, voices = kinds[number % len(kinds)], list[Utterance]()
    if kind == "babble":
        sources = statements.divide(language, config.seed)[config.split != "train"]
        drawn = rng.sample(sources, BABBLE_VOICES)
        voices = [question_utterance(item.text, language, config.split, rng) for item in drawn]
    reply = statements.NOISE_REPLY[LANGUAGES.index(language)]
    return Row(name, language, "sound", "", reply, noise=kind, voices=tuple(voices), state="noise", facts={"sound": kind})


def _backchannel(config: TinyWorld, name: str, index: LanguageIndex, rng: random.Random) -> Row:
    return _talk("backchannel", side_talk.backchannels(index[1], config.seed), (config, name), index, rng)


def _side_talk(config: TinyWorld, name: str, index: LanguageIndex, rng: random.Random) -> Row:
    return _talk("side_talk", side_talk.side_talk(index[1], config.seed), (config, name), index, rng)


def _talk(kind: Kind, texts: tuple[side_talk.Texts, side_talk.Texts], row: tuple[TinyWorld, str], index: LanguageIndex,
          rng: random.Random) -> Row:
    (config, name), (number, language) = row, index
    text = rng.choice(texts[0]) if config.split == "train" else texts[1][number % len(texts[1])]
    utterance = question_utterance(text, language, config.split, rng)
    transcript, reply = side_talk.transcript(text, language), REPLIES[kind][LANGUAGES.index(language)]
    return Row(name, language, kind, transcript, reply, utterance=utterance, state="noise")


def _echo(config: TinyWorld, name: str, index: LanguageIndex, rng: random.Random) -> Row:
    """The voice of the answers: what a loudspeaker gives back to the microphone."""
    language = index[1]
    text = random_text(language, config.seed, rng, single=True)
    reply = statements.NOISE_REPLY[LANGUAGES.index(language)]
    return Row(name, language, "echo", text, reply, utterance=in_answer_voice(text, language), state="noise")


ROWS: dict[Kind, Callable[[TinyWorld, str, LanguageIndex, random.Random], Row]] = {
    "statement": _statement,
    "sound": _noise,
    "backchannel": _backchannel,
    "side_talk": _side_talk,
    "echo": _echo,
}
