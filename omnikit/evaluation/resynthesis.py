"""Speech through the codec alone: no head with this codec is expected to be more intelligible.

A codec and vocoder with unintelligible output are found here, before a head learns the codes. A head that reads text gets the
same texts without a language model: once as they are, and once with the rows of the embedding table shuffled, whose speech
must be unintelligible.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from omnikit.contracts.optional import needs_training
from omnikit.contracts.types import ContentPart, Sample
from omnikit.data.batch.signals import load_waveform
from omnikit.data.text.spoken_text import spoken_answers
from omnikit.data.text.templates import answer_texts
from omnikit.data.text.tokenizer import load as load_tokenizer
from omnikit.errors import PlanError, RunError, nearest
from omnikit.evaluation.audio_metrics import mel_distance, stoi_score
from omnikit.evaluation.estimates import Estimate, ratio
from omnikit.evaluation.metrics import character_errors, word_errors
from omnikit.evaluation.runner import spread
from omnikit.inference.sentence_speech import SentenceStream
from omnikit.inference.session import Session, restore
from omnikit.model import OmniModel
from omnikit.plan.plan import OutputBranch, Plan
from omnikit.progress import progress
from omnikit.store.lineage import lineage
from omnikit.store.load import build_model
from omnikit.store.runs import find, is_done, load_plan
from omnikit.training.codecs.codec import perplexity

BATCH = 16  # waveforms that the ASR model gets at once


@dataclass(frozen=True)
class Resynthesis:
    """The spoken answers of a dataset after the codec.

    Args:
        rows: answers that were encoded and decoded.
        ground_truth_wer: word errors of the ASR model on the data's own speech.
        codec_wer: the same after the codec.
        codec_cer: character errors after the codec.
        mel_distance: L1 of natural log-mel magnitudes between both; None where runs are merged, so that times differ.
        stoi: intelligibility against the data's own speech, 0 to 1; None as above.
        codebook_utilisation: fraction of the codes that occur.
        perplexity: of the distribution of codes.
        head_wer: word errors of the head's speech of the text; None where no finished stage trained one that reads text.
        shuffled_wer: the same with a shuffled embedding table.
    """

    rows: int
    ground_truth_wer: Estimate | None
    codec_wer: Estimate | None
    codec_cer: Estimate | None
    mel_distance: float | None
    stoi: float | None
    codebook_utilisation: float
    perplexity: float
    head_wer: Estimate | None = None
    shuffled_wer: Estimate | None = None


def resynthesise(run: str | Path, asr_run: str | Path | None = None, limit: int = 100,
                  data: Sequence[str] = ()) -> dict[str, Resynthesis]:
    """Encode and decode the held-out spoken answers of a run's recipe with its codec alone; gives title → result.

    Args:
        run: only its stages that train the codec need to be finished; a folder where no run of the recipe is.
        asr_run: the run that transcribes both; None takes the recipe's.
        limit: rows of each dataset at most, spread over it.
        data: datasets of the recipe; empty for all that it is scored on.

    Raises:
        OmnikitError: the run, its codec or its ASR model is not there, or no dataset of `evaluate.data` has spoken answers.
    """
    folder = find(run)
    plan = load_plan(folder)
    output, model = _voice(plan, folder)
    name = asr_run or plan.recipe.evaluate.asr
    if name is None:
        raise PlanError(f"Recipe {plan.recipe.name} names no evaluate.asr, so its codec cannot be measured; name one with"
                        " --asr RUN.")
    asr, found = restore(load_plan(find(name)), find(name)), {}
    if unknown := [dataset for dataset in data if dataset not in plan.readers]:
        raise PlanError(f"{plan.recipe.name} has no dataset {unknown[0]}.{nearest(unknown[0], plan.readers)}"
                        f" Datasets: {', '.join(plan.readers)}.")
    chosen = dict(zip(data, data, strict=True)) or plan.recipe.evaluate.data
    texts = {title: list(_rows(plan, dataset, limit)) for title, dataset in chosen.items()}
    for title, rows in texts.items():
        if rows:
            found[title] = _compared(rows, output, model, asr, title)
    if not found:
        raise PlanError(f"No dataset under {'data' if data else 'evaluate.data'} of {plan.recipe.name} has spoken answers with"
                        " their text, so its codec cannot be measured; name one that has.")
    if reader := _reader(plan, folder, output):
        head_errors = {title: _sentence_codes(rows, output, model, reader, asr, title) for title, rows in texts.items() if rows}
        mixed = _shuffled(reader, plan.recipe.seed)
        for title, wer in head_errors.items():
            wrong = _sentence_codes(texts[title], output, model, reader, asr, f"{title}, shuffled") if mixed else None
            found[title] = replace(found[title], head_wer=wer, shuffled_wer=wrong)
    return found


def _reader(plan: Plan, folder: Path, output: OutputBranch) -> OmniModel | None:
    """Give the head that reads text with its embedding table, as its last finished stage left it; None without one."""
    part = f"{output.name}.head"
    done = [name for name, stage in plan.stages.items() if part in stage.trained and is_done(folder, plan, name)]
    if not done or not output.reads_text or output.needs_hidden:
        return None
    stage = plan.stages[done[-1]]
    return build_model(plan, folder, stage.holders, parts=stage.used, table=stage.table).eval()


def _shuffled(model: OmniModel, seed: int) -> bool:
    """Shuffle the embedding table; False where more than the embedding table is there."""
    tables = [module for module in model.get_submodule("backbone").modules() if isinstance(module, nn.Embedding)]
    if not model.table or len(tables) != 1:
        return False
    rows = torch.randperm(len(tables[0].weight), generator=torch.Generator().manual_seed(seed))
    tables[0].weight.data = tables[0].weight.data[rows]
    return True


@torch.no_grad()
def _sentence_codes(rows: Sequence[tuple[Sample, ContentPart, str]], output: OutputBranch, model: OmniModel, reader: OmniModel,
                    asr: Session,
             title: str) -> Estimate | None:
    """Give the word errors of the speech that head and codec make of the texts of rows."""
    assert output.codec and model.plan.tokenizer, "a head that reads text has both"
    made, tokenizer = [], load_tokenizer(model.plan.tokenizer)
    with progress(f"head {title}") as report:
        for index, (_, _, text) in enumerate(rows):
            codes = list(SentenceStream(reader, output, tokenizer).finish(text))
            made.append(model.codec(output.name).decode(torch.tensor(codes, dtype=torch.int64).reshape(
                len(codes), output.codec.spec.codebooks)).float())
            report((index + 1) / len(rows))
    return ratio(word_errors(_transcripts(asr, made, output.codec.spec.sample_rate), [text for _, _, text in rows]))


def _voice(plan: Plan, folder: Path) -> tuple[OutputBranch, OmniModel]:
    """Give the speech branch, and its codec and units with the weights of the finished stages."""
    output = next((output for output in plan.outputs.values() if output.codec and output.code_source
                   and output.code_source_part), None)
    if output is None or output.code_source_part is None:
        raise PlanError(f"{plan.recipe.name} has no codec that encodes and decodes, so none can be checked;"
                        " pick one, or units beside a vocoder.")
    parts = {output.code_source_part, f"{output.name}.codec"}
    origins = lineage(plan, folder, parts=parts)
    for part in parts - set(origins):
        config = plan.parts()[part]
        if needs_training(config):
            raise RunError(f"{folder} holds no finished stage that trained {part}; train it first with omnikit train"
                           f" {plan.recipe.name}.")
    return output, build_model(plan, folder, origins, parts=parts).eval()


def _rows(plan: Plan, dataset: str, limit: int) -> Iterator[tuple[Sample, ContentPart, str]]:
    """Give rows with the audio and the text of their last spoken answer."""
    reader = plan.readers[dataset].build()
    for index in spread(len(reader), limit):
        sample = reader[index]
        answers = [(parts[0], answer_texts([message])[0]) for message, parts in spoken_answers(sample)
                   if len(parts) == 1 and (parts[0].path or parts[0].data or parts[0].audio is not None)]
        if answers and answers[-1][1].strip():
            part, text = answers[-1]
            yield sample, part, text


@torch.no_grad()
def _compared(rows: Sequence[tuple[Sample, ContentPart, str]], output: OutputBranch, model: OmniModel, asr: Session,
              title: str) -> Resynthesis:
    assert output.codec and output.code_source, "chosen so"
    units, codec = model.units(output.name), model.codec(output.name)
    spec, rate = output.code_source.spec, output.codec.spec.sample_rate
    counts, distances, stoi, made, true = torch.zeros(spec.codebooks, spec.cardinality), [], [], [], []
    with progress(f"codec {title}") as report:
        for index, (sample, part, _) in enumerate(rows):
            codes = units.encode(torch.from_numpy(load_waveform(part, spec.sample_rate, sample.id, model.plan.recipe.media)))
            books = codes.reshape(-1, spec.codebooks).T  # of a waveform shorter than a frame there are none
            counts.scatter_add_(1, books, torch.ones_like(books, dtype=counts.dtype))
            made.append(codec.decode(codes).float())
            true.append(torch.from_numpy(load_waveform(part, rate, sample.id, model.plan.recipe.media)))
            if not spec.merged:
                distances.append(mel_distance(made[-1], true[-1], rate))
                stoi.append(stoi_score(made[-1], true[-1], rate))
            report((index + 1) / len(rows))
    texts = [text for _, _, text in rows]
    transcripts = _transcripts(asr, made, rate)
    return Resynthesis(len(rows), ratio(word_errors(_transcripts(asr, true, rate), texts)),
                       ratio(word_errors(transcripts, texts)),
                       ratio(character_errors(transcripts, texts)), _mean(distances), _mean(stoi),
                       float((counts > 0).float().mean()), perplexity(counts))


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None


def _transcripts(asr: Session, waveforms: Sequence[Tensor], rate: int) -> list[str]:
    arrays: list[NDArray[np.float32]] = [waveform.numpy() for waveform in waveforms]
    return [text for start in range(0, len(arrays), BATCH) for text in asr.transcribe(arrays[start:start + BATCH], rate)]
