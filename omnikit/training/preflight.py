"""All that the stages to come and the evaluation name, opened before the first stage: an error of a late one does not wait."""

from collections.abc import Collection, Iterator

from omnikit import registry
from omnikit.contracts.optional import head_options, row_options
from omnikit.contracts.protocols import TTS
from omnikit.contracts.types import ContentPart
from omnikit.data.batch.signals import answer_audio, check_header, question_media
from omnikit.data.text.tokenizer import load
from omnikit.errors import ConfigError, DataError, OmnikitError
from omnikit.plan.missing import missing
from omnikit.plan.plan import Plan
from omnikit.recipe.media import MediaLimits

FIRST = 3  # rows that are read of each dataset


def preflight(plan: Plan, stages: Collection[str]) -> None:
    """Look for each file that these stages or the evaluation name, and open tokenizers, voices and datasets.

    Of each dataset the first rows and the headers of their media are read. One that makes its recordings itself is not opened,
    since they are made while earlier stages are trained; its voices are tried.

    Raises:
        ConfigError, DataError: one sentence for each thing that is missing or cannot be used.
    """
    if absent := missing(plan, stages):
        raise ConfigError(*(one.sentence for one in absent))
    names = [name for stage in stages for name in (*plan.stages[stage].datasets, *plan.stages[stage].held_out)]
    names += [name for name in plan.recipe.evaluate.data.values() if stages and name in plan.readers]
    datasets = list(dict.fromkeys(names))
    found = [*(_tokenizers(plan) if stages else ()), *_voices(plan, datasets)]
    found += [error for name in datasets if (error := _error(plan, name))]
    if found:
        kind = ConfigError if all(isinstance(error, ConfigError) for error in found) else DataError
        raise found[0] if len(found) == 1 else kind(*(sentence for error in found for sentence in error.sentences))


def _tokenizers(plan: Plan) -> Iterator[OmnikitError]:
    """Open every tokenizer; gives what is wrong."""
    named = {head_options(output.head).tokenizer: f"{name}.head.tokenizer" for name, output in plan.outputs.items()}
    named |= {plan.tokenizer: "backbone.tokenizer"}
    for reference, where in named.items():
        try:
            if reference:
                load(reference)
        except OmnikitError as error:
            yield ConfigError(f"{where}: {error}")


def _voices(plan: Plan, datasets: Collection[str]) -> Iterator[OmnikitError]:
    """Speak a letter with each voice of each dataset; gives what is wrong."""
    tried = set[tuple[str, str]]()
    for name in datasets:
        tts = str(getattr(plan.readers[name], "tts", ""))
        voices = [voice for voice in row_options(plan.readers[name]).voices if (tts, voice) not in tried]
        tried |= {(tts, voice) for voice in voices}
        try:
            if voices:
                speaker: TTS = registry.component("tts", tts)().build()
                for voice in voices:
                    speaker.speak("a", voice, 175, 50)
        except OmnikitError as error:
            yield ConfigError(f"data.{name}.tts is {tts}: {error}")


def _error(plan: Plan, name: str) -> OmnikitError | None:
    """Give what is wrong with a dataset, or None."""
    if row_options(plan.readers[name]).records:
        return None
    policy = plan.recipe.row_policies.get(name)
    try:
        rows = plan.readers[name].build()
        for index in range(0 if policy and policy.on_error == "skip" else min(FIRST, len(rows))):
            sample = rows[index]
            for part in (*question_media(sample), *(one for one in answer_audio(sample) if one.codes is None)):
                _check_medium(sample.id, part, plan.recipe.media)
    except OmnikitError as error:
        return error
    return None


def _check_medium(row: str, part: ContentPart, limits: MediaLimits) -> None:
    try:
        check_header(part, limits)
    except DataError as error:
        raise DataError(f"Row {row}: {error}", kind=error.kind) from error
