"""Samples as a batch: exact counts, targets, and one sentence for a row that does not fit."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from doubles import (
    RATE,
    SPECIALS,
    WORDS,
    EchoDataset,
    EchoReader,
    FakeBackbone,
    FakeCodecModule,
    FakeHead,
    make_plan,
    speak,
    write_tokenizer,
)
from torch.utils.data._utils.pin_memory import pin_memory

from omnikit.contracts.types import ContentPart, Message, Sample
from omnikit.data.batch.codes import Codes
from omnikit.data.batch.collate import Collator
from omnikit.data.batch.signals import pad_signals
from omnikit.errors import ConfigError, DataError
from omnikit.model import OmniModel
from omnikit.plan.plan import Plan

IDS = {word: index for index, word in enumerate((*SPECIALS, *WORDS))}


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    return make_plan(write_tokenizer(tmp_path))


def asked(*parts: ContentPart, answer: str = "two", speech: ContentPart | None = None) -> Sample:
    answers = (ContentPart("text", text=answer), *([speech] if speech else []))
    return Sample("r1", (Message("user", parts), Message("assistant", answers)))


def audio(text: str | None = "two", **options: object) -> ContentPart:
    return ContentPart("audio", **{"text": text, "audio": speak("two"), "sample_rate": RATE, **options})


def ids(words: str) -> list[int]:
    return [IDS[word] for word in words.split()]


def test_tokens_slots_and_answers_stand_where_the_template_puts_them(plan: Plan) -> None:
    batch = Collator(plan, ["text"])([asked(ContentPart("text", text="one"), audio(), ContentPart("text", text="six"))])
    assert batch.tokens.tolist() == [[*ids("<bos> <user> one"), 0, *ids("six <bot> two <end>")]]
    assert (batch.slots["audio"].tolist(), batch.counts["audio"]) == ([3], [1])
    assert batch.answers.tolist() == [[6, 7]]
    assert batch.targets["text"].ids.tolist() == [ids("two <end>")]


def test_slots_of_later_rows_count_from_their_row(plan: Plan) -> None:
    batch = Collator(plan, ["text"])([asked(ContentPart("text", text="one two three")), asked(audio())])
    length = batch.tokens.shape[1]
    assert batch.rows["audio"] == [1]
    assert batch.slots["audio"].tolist() == [length + 2]


def test_each_audio_part_is_a_signal(plan: Plan) -> None:
    batch = Collator(plan, ["text"])([asked(audio(), audio(audio=speak("one two")))])
    assert batch.signals["audio"].lengths.tolist() == [5, 10]
    assert batch.counts["audio"] == [1, 2]


def test_targets_are_padded_with_minus_100(plan: Plan) -> None:
    batch = Collator(plan, ["text"])([asked(audio()), asked(audio(), answer="two six")])
    assert batch.targets["text"].ids.tolist() == [[*ids("two <end>"), -100], ids("two six <end>")]
    assert batch.targets["text"].lengths.tolist() == [2, 3]


def test_silent_audio_has_an_empty_transcript(plan: Plan) -> None:
    batch = Collator(plan, ["transcript"])([asked(audio("")), asked(audio())])
    assert batch.targets["transcript"].lengths.tolist() == [0, len(ids("two"))]


def test_transcripts_belong_to_signals_not_rows(plan: Plan) -> None:
    batch = Collator(plan, ["transcript"])([asked(audio(), audio("one")), asked(ContentPart("text", text="one")),
                                            asked(audio())])
    assert batch.targets["transcript"].ids.tolist() == [ids("two"), ids("one"), ids("two")]


def test_codes_of_the_row_win_over_the_codec(plan: Plan) -> None:
    batch = Collator(plan, ["speech"])([asked(audio(), speech=audio(codes=((4,), (2,))))])
    assert batch.targets["speech"].ids.tolist() == [[[4], [2]]]


def test_codes_are_encoded_once_for_equal_waves(plan: Plan) -> None:
    codec = OmniModel(plan).codec("speech")
    codes = Codes(codec, RATE)
    calls: list[int] = []
    encode = codes.codec.encode
    codes.codec.encode = lambda wave: calls.append(1) or encode(wave)
    batch = Collator(plan, ["speech"], {"speech": codes})([asked(audio(), speech=audio())] * 3)
    assert batch.targets["speech"].ids[0].tolist() == codec.encode(torch.from_numpy(speak("two"))).tolist()
    assert len(calls) == 1


def test_other_rates_are_converted(plan: Plan) -> None:
    batch = Collator(plan, ["text"])([asked(audio(audio=np.zeros(200, np.float32), sample_rate=2 * RATE))])
    assert batch.signals["audio"].lengths.tolist() == [100]


def test_asking_renders_the_prompt_without_targets(plan: Plan) -> None:
    batch = Collator(plan, ["text", "speech"], prompt_only=True)([asked(audio())])
    assert batch.tokens.tolist() == [[*ids("<bos> <user>"), 0, *ids("<bot>")]]
    assert batch.targets == {}


def test_reader_row_twice_gives_the_same_batch(plan: Plan) -> None:
    reader = EchoReader(EchoDataset())
    first, second = (Collator(plan, ["text"])([reader[0], reader[5]]) for _ in range(2))
    assert torch.equal(first.tokens, second.tokens)


def test_signal_pads_with_silence() -> None:
    found = pad_signals([np.ones(2, np.float32), np.ones(3, np.float32)])
    assert found.data.tolist() == [[1, 1, 0], [1, 1, 1]]


BROKEN: dict[str, tuple[Callable[[], Sample], str]] = {
    "empty answer": (lambda: asked(audio(), answer=" "), "Row r1 has an empty answer"),
    "no answer": (lambda: Sample("r1", (Message("user", (audio(),)),)), "Row r1 has an empty answer"),
    "overflow": (lambda: asked(ContentPart("text", text="one " * 90)),
                 "Row r1 has 95 positions, but the backbone's context is 64"),
    "missing file": (lambda: asked(ContentPart("audio", path="gone.wav")), "Row r1: gone.wav does not exist"),
    "no data": (lambda: asked(ContentPart("audio")), "Row r1 has a part of type audio with neither a path nor data"),
    "silent file": (lambda: asked(audio(audio=np.zeros(0, np.float32))), "Row r1 has empty audio"),
    "too short": (lambda: asked(audio(audio=np.zeros(3, np.float32))), "Row r1: audio of 3 samples is too short"),
    "other modality": (lambda: asked(ContentPart("image", path="x.png")),
                       "Row r1 holds image in a question, but the recipe has no"),
    "no speech": (lambda: asked(audio()), "Row r1 has no speech in its answer, but branch speech is trained on it"),
    "no transcript": (lambda: asked(audio(None), speech=audio(codes=((1,),))), "Row r1 has no transcript of its audio"),
}


@pytest.mark.parametrize("case", BROKEN, ids=str)
def test_row_that_does_not_fit_is_named(plan: Plan, case: str) -> None:
    make, sentence = BROKEN[case]
    with pytest.raises(DataError, match=sentence):
        Collator(plan, ["text", "speech", "transcript"])([make()])


def test_audio_without_a_branch_is_refused(plan: Plan) -> None:
    deaf = replace(plan, inputs={})
    with pytest.raises(DataError, match="Row r1 holds audio in a question, but the recipe has no input branch for audio"):
        Collator(deaf, ["text"])([asked(audio())])


def test_answer_that_comes_first_is_refused(plan: Plan) -> None:
    bare = replace(plan, template=replace(plan.template, bos="", assistant=""), backbone=FakeBackbone(plan.tokenizer or ""))
    with pytest.raises(DataError, match="Row r1 begins with its answer"):
        Collator(bare, ["text"])([Sample("r1", (Message("assistant", (ContentPart("text", text="two"),)),))])


def test_each_branch_encodes_with_its_own_codec(plan: Plan) -> None:
    both = replace(plan, outputs={**plan.outputs, "whisper": replace(plan.outputs["speech"], name="whisper")})
    codecs = {"speech": FakeCodecModule(9), "whisper": FakeCodecModule(5)}
    collate = Collator(both, list(codecs), {name: Codes(codec, RATE) for name, codec in codecs.items()})
    batch = collate([asked(audio(), speech=audio())])
    for name, codec in codecs.items():
        assert batch.targets[name].ids[0].tolist() == codec.encode(torch.from_numpy(speak("two"))).tolist()
    assert not torch.equal(batch.targets["speech"].ids, batch.targets["whisper"].ids)


def test_tokenizer_larger_than_the_backbone_is_refused(plan: Plan) -> None:
    small = replace(plan, backbone=FakeBackbone(plan.tokenizer or "", vocabulary=12))
    with pytest.raises(ConfigError, match=r"has 13 ids, but backbone.vocabulary is 12; set backbone.vocabulary=13"):
        Collator(small, ["text"])


def test_tokenizer_that_splits_a_token_of_the_template_is_refused(plan: Plan) -> None:
    assert plan.template
    other = replace(plan, template=replace(plan.template, specials=("<bos>", "<a b>")))
    with pytest.raises(ConfigError, match=r"does not write the template's tokens as one id each: <a b> \(2\); choose"):
        Collator(other, ["text"])


def test_every_tensor_of_a_batch_is_pinned(plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    batch = Collator(plan, ["text", "transcript"])([asked(audio())])
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda tensor: tensor + 1)
    pinned = pin_memory(batch)
    assert torch.equal(pinned.tokens, batch.tokens + 1) and pinned.ids == batch.ids
    assert torch.equal(pinned.signals["audio"].data, batch.signals["audio"].data + 1)
    assert torch.equal(pinned.targets["transcript"].ids, batch.targets["transcript"].ids + 1)


def test_target_that_its_vectors_cannot_give_names_the_row(plan: Plan) -> None:
    class Strict(FakeHead):
        def unreachable(self, vectors: int, ids: Sequence[int]) -> str | None:
            return f"{vectors} vectors, {len(ids)} ids" if len(ids) > vectors else None

    plan.outputs["transcript"] = replace(plan.outputs["transcript"], head=Strict("audio.encoder", "transcript", "none"))
    collator = Collator(plan, ["transcript"])
    assert collator([asked(audio("two"))]).targets["transcript"].lengths.tolist() == [1]
    with pytest.raises(DataError, match=r"^Row r1 cannot be learned by branch transcript: 1 vectors, 2 ids\.$"):
        collator([asked(audio("two two"))])


def test_codes_are_held_against_the_answer_s_states(plan: Plan) -> None:
    class Strict(FakeHead):
        def unreachable(self, vectors: int, ids: Sequence[int]) -> str | None:
            return f"{vectors} vectors, {len(ids)} ids"

    plan.outputs["speech"] = replace(plan.outputs["speech"], head=Strict("hidden", "codes"))
    with pytest.raises(DataError, match="Row r1 cannot be learned by branch speech: 2 vectors, 3 ids"):  # a word and the end
        Collator(plan, ["speech"])([asked(audio(), speech=audio(codes=((4,), (2,), (4,))))])


def test_codes_of_several_codebooks_become_frames_of_them(plan: Plan) -> None:
    speech = plan.outputs["speech"]
    plan.outputs["speech"] = replace(speech, codes=replace(speech.codes, codebooks=2))
    rows = [asked(audio(), speech=audio(codes=((4, 2), (1, 3)))), asked(audio(), speech=audio(codes=((5, 6),)))]
    targets = Collator(plan, ["speech"])(rows).targets["speech"]
    assert targets.ids.tolist() == [[[4, 2], [1, 3]], [[5, 6], [-100, -100]]]
    assert targets.lengths.tolist() == [2, 1]


def test_codes_of_another_number_of_codebooks_name_the_row(plan: Plan) -> None:
    with pytest.raises(DataError, match=r"Row r1 has codes of 4 codebooks, but speech\.codec has 1; give the row"):
        Collator(plan, ["speech"])([asked(audio(), speech=audio(codes=((4, 2, 0, 1),)))])
