"""Which text the audio of an answer holds, against the same worked out from the complete answer; real parts, random weights."""

import json
from pathlib import Path

import pytest
import torch
from small_recipe import write_recipe
from torch import Tensor

from omnikit.contracts.codes import Code
from omnikit.contracts.specs import CodecSpec
from omnikit.data.batch.collate import to_device
from omnikit.data.text.tokenizer import load as load_tokenizer
from omnikit.inference.generate import DecodingStep, generate, tapped
from omnikit.inference.live.played_text import text_until
from omnikit.inference.question import question
from omnikit.inference.sentence_speech import SentenceSpeech, SentenceStream
from omnikit.inference.session import Session, build
from omnikit.inference.text_alignment import CodeTiming, TextMarks
from omnikit.plan.plan import make
from omnikit.recipe.compose import compose

SMALLER = ["speech.codec.dim=4", "speech.codec.channels=32", "speech.codec.duration_dim=4", "backbone.layers=1"]
CPU = torch.device("cpu")
ASKED = "what is two plus one"


def made(folder: Path, *changes: tuple[str, str], overrides: tuple[str, ...] = ()) -> Session:
    turns = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
    (folder / "rows.jsonl").write_text(json.dumps({"messages": turns}))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        return build(make(compose(str(write_recipe(folder, *changes)), [*SMALLER, *overrides])), device="cpu")


@pytest.fixture(scope="module", params=["predicts", "reads"])
def ctc(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Session:
    session = made(tmp_path_factory.mktemp("ctc"), overrides=(
        "speech.head.layers=1", "generate.max_new_tokens=24", f"speech.head.alignment={request.param}"))
    for name, weight in session.model.head("speech").named_parameters():  # sharp attention and classes: labels change often
        weight.data *= 6 if "q_proj" in name or "output_proj" in name else 1
    return session


@pytest.mark.parametrize("omega", [1, 10, 1000])
def test_marks_of_a_ctc_head_are_exact_for_each_token(ctc: Session, omega: int) -> None:
    output, tokenizer = ctc.plan.outputs["speech"], load_tokenizer(ctc.plan.tokenizer or "")
    batch, _, sampling = ctc._prepare([question(text=ASKED)], greedy=True)
    generated = generate(ctc.model, to_device(batch, CPU), sampling)
    features = tapped(ctc.model, output, generated)
    head, codec = ctc.model.code_head("speech"), ctc.model.codec("speech")
    counts = []  # codes of the first tokens: a causal head gives the same for a prefix
    for count in range(1, len(generated.tokens[0]) + 1):
        features.lengths = torch.tensor([count])
        counts.append(len(head.decode(features)[0]))
    units = torch.tensor([code[0] for code in head.decode(features)[0]])
    ends = [0, *(codec.durations(units).cumsum(0) * 320).tolist()]  # 50 frames a second at 16 kHz
    texts = [tokenizer.text(generated.tokens[0][:count]).rstrip("\N{REPLACEMENT CHARACTER}").rstrip()
             for count in range(1, len(counts) + 1)]  # bytes of an incomplete character are no text yet
    expected = dict(zip((ends[count] for count in counts), map(len, texts), strict=True))  # the last text of each sample
    events = list(ctc.stream(text=ASKED, omega=omega))
    found = [mark for event in events for mark in event.marks]
    assert len(expected) > 5 and {sample: expected[sample] for sample, _ in found} == dict(found)
    assert found == sorted(found) and found[-1] == (ends[-1], len("".join(event.text for event in events)))


@pytest.mark.parametrize("omega", [1, 7, 1000])
def test_marks_of_sentences_are_exact_at_their_ends(omega: int, tmp_path: Path) -> None:
    session = made(tmp_path, ("/speech/head: ctc_units_tiny_random", "/speech/head: nar_ar_tiny_random\n"
                              "  - /speech/normaliser: vita_text"),
                   overrides=("speech.head.max_codes=20", "speech.head.top_k=1"))
    output, tokenizer = session.plan.outputs["speech"], load_tokenizer(session.plan.tokenizer or "")
    sentences, text = ["One two three.", "And then four!", "Five"], "One two three.  And then four! Five"
    codes: list[Code] = []
    boundaries = []
    for sentence in sentences:
        boundaries.append((len(codes), text.index(sentence)))
        codes += SentenceStream(session.model, output, tokenizer).finish(sentence)
        boundaries.append((len(codes), text.index(sentence) + len(sentence)))
    durations = session.model.codec("speech").durations(torch.tensor([code[0] for code in codes]))
    ends = [0, *(durations.cumsum(0) * 320).tolist()]
    speech = SentenceSpeech(session.model, output, tokenizer, omega)
    step = DecodingStep(torch.zeros(1, session.plan.backbone.dim), torch.tensor([1]))
    segments = [segment for character in text for segment in speech.write(step, character)]
    found = [mark for segment in [*segments, *speech.finish()] for mark in segment.marks]
    assert len(codes) > 10 and dict(found) == {ends[count]: characters for count, characters in boundaries}
    assert [characters for _, characters in found] == sorted(characters for _, characters in found)


class Durations:
    """A codec whose durations depend on the codes beside each: 1 and one more for each larger neighbour."""

    def encode(self, wave: Tensor) -> Tensor:
        raise NotImplementedError

    def decode(self, codes: Tensor) -> Tensor:
        raise NotImplementedError

    def durations(self, units: Tensor) -> Tensor:
        beside = torch.cat([units[:1], units, units[-1:]])
        return 1 + (beside[:-2] > units).long() + (beside[2:] > units).long()


@pytest.mark.parametrize("sizes", [[1] * 60, [7, 30, 23], [60]])
def test_codes_end_where_their_durations_put_them(sizes: list[int]) -> None:
    units = torch.randint(0, 9, (60,), generator=torch.Generator().manual_seed(0))
    timing, start = CodeTiming(CodecSpec(16000, 50, 1, 9, merged=True), Durations(), independent=False), 0  # type: ignore[arg-type]
    for size in sizes:
        given = [(code,) for code in units[start:start + size].tolist()]
        start += size
        timing.push(given, 0, CPU, last=start == 60)
    assert timing.ends == (Durations().durations(units).cumsum(0) * 320).tolist()


def test_codes_of_equal_length_end_by_their_number() -> None:
    from fractions import Fraction

    timing = CodeTiming(CodecSpec(24000, Fraction(75, 2), 1, 9), Durations(), independent=False)
    timing.push([(1,), (2,)], 0, CPU, last=False)
    timing.push([(3,)], 0, CPU, last=True)
    assert timing.ends == [640, 1280, 1920]


def test_marks_wait_for_the_ends_of_their_codes() -> None:
    marks = TextMarks()
    for codes, characters in ((0, 0), (2, 3), (2, 4), (5, 9)):
        marks.note(codes, characters)
    assert marks.take([10, 20, 30]) == ((0, 0), (20, 4))
    assert marks.take([10, 20, 30, 40, 50]) == ((50, 9),)


TEXT = "One two, three. Four"
MARKS = [(0, 0), (1600, 8), (4800, 15), (6400, 15), (9600, 20)]


@pytest.mark.parametrize(("samples", "expected"), [
    (0, ""), (599, ""), (600, "One"), (1599, "One"), (1600, "One two,"), (4799, "One two,"), (4800, "One two, three."),
    (6400, "One two, three."), (9599, "One two, three."), (9600, TEXT), (10 ** 6, TEXT)])
def test_words_count_when_all_of_their_audio_was_played(samples: int, expected: str) -> None:
    assert text_until(TEXT, MARKS, samples, 16000) == expected


def test_characters_of_scripts_without_spaces_are_words() -> None:
    assert text_until("今天天气很好。", [(0, 0), (7000, 7)], 3500, 16000) == "今天天"


def test_behind_the_last_mark_text_goes_on_as_before() -> None:
    assert text_until("one two six ten", [(0, 0), (7000, 7)], 11000, 16000) == "one two six"


def test_before_any_mark_text_takes_a_fifteenth_of_a_second_a_character() -> None:
    assert text_until("one two six ten", [], 8000, 16000) == "one two"  # half a second: 7.5 characters
