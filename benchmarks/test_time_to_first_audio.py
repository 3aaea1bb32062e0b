"""Time to first audio against omega, and what a vocoder of the published size costs at once and in segments.

The answers are those of llama_omni/tiny with random weights, sharpened so that its units change often, and a sentence that
vita_1_5/tiny with random weights gets. One thread.
"""

import time

import torch
from bench_table import Measures
from torch import Tensor

from omnikit.contracts.streaming import StreamingCodec
from omnikit.data.text.tokenizer import load as load_tokenizer
from omnikit.inference.sentence_speech import SentenceSpeech
from omnikit.inference.session import Session, build
from omnikit.model import OmniModel
from omnikit.plan.plan import make
from omnikit.recipe.compose import compose

OMEGAS, ROUNDS, UNITS = (10, 20, 40, 60, 80, 100), 3, 60
FRAMES = 1.72  # of a unit in LLaMA-Omni's data


def test_time_to_first_audio_against_omega(measures: Measures) -> None:
    session, found = sharpened_session(), dict[str, float]()
    whole = session.answer(text="why").codes

    for omega in OMEGAS:
        for name, independent in (("exact", False), ("independent", True)):
            found[f"omega {omega}, {name}"] = min(time_to_first_audio(session, omega, independent) for _ in range(ROUNDS))
            measures.number(f"time to first audio, omega {omega}, {name}", 1000 * found[f"omega {omega}, {name}"], "ms")
    start = time.perf_counter()
    session.answer(text="why")
    measures.ratio(f"time to first audio / an answer of {len(whole)} units", found["omega 10, exact"],
                   time.perf_counter() - start, most=0.5)


def test_time_to_first_audio_of_a_sentence(measures: Measures) -> None:
    torch.set_num_threads(1)
    session = build(compose("vita_1_5/tiny", []))
    assert session.plan.tokenizer
    output, tokenizer = session.plan.outputs["speech"], load_tokenizer(session.plan.tokenizer)

    def audio_times(omega: int) -> tuple[float, float]:
        """Give seconds from the end of the text to the first and to the last audio."""
        start, times = time.perf_counter(), list[float]()
        for segment in SentenceSpeech(session.model, output, tokenizer,
                                      omega).finish("a large red star above a small blue circle."):
            if segment.waveform is not None:
                times.append(time.perf_counter() - start)
        return times[0], times[-1]

    for omega in OMEGAS:
        firsts, lasts = zip(*(audio_times(omega) for _ in range(ROUNDS)), strict=True)
        measures.number(f"time to first audio of a sentence, segments of {omega} codes", 1000 * min(firsts), "ms")
        measures.ratio(f"the same / the whole sentence, segments of {omega} codes", firsts, lasts,
                       most=0.5 if omega == OMEGAS[0] else None)


def test_vocoder(measures: Measures) -> None:
    codec = published_vocoder()
    units = torch.randint(1000, (UNITS, 1), generator=torch.Generator().manual_seed(3))
    ways = {"whole": lambda: codec.decode(units), "exact segments of 10 units": lambda: exact(codec, units, 10),
            "exact segments of 35 units": lambda: exact(codec, units, 35),
            "independent segments of 10 units": lambda: torch.cat([codec.decode(piece) for piece in units.split(10)])}

    for name, way in ways.items():
        start = time.process_time()
        waveform = way()
        measures.number(f"real-time factor, {name}", (time.process_time() - start) / (len(waveform) / 16000), "")
    torch.testing.assert_close(ways["exact segments of 10 units"](), ways["whole"](), atol=1e-5, rtol=0)  # float32


def time_to_first_audio(session: Session, omega: int, independent: bool) -> float:
    """Give seconds from the question to the first audio."""
    events = session.stream(text="why", omega=omega, independent=independent)
    return next(event.seconds for event in events if event.waveform is not None)


def exact(codec: StreamingCodec, units: Tensor, size: int) -> Tensor:
    state, pieces = codec.init_state(1), []
    for piece in units.split(size):
        waveform, state = codec.step(piece, state)
        pieces.append(waveform)
    return torch.cat([*pieces, codec.step(units[:0], state, last=True)[0]])


def sharpened_session() -> Session:
    torch.set_num_threads(1)
    session = build(compose("llama_omni/tiny", ["generate.max_new_tokens=60"]))
    for name, weight in session.model.get_submodule("speech.head").named_parameters():
        weight.data *= 6 if "q_proj" in name or "output_proj" in name else 1
    return session


def published_vocoder() -> StreamingCodec:
    """Random weights of the published size, whose units last as long as in LLaMA-Omni's data."""
    torch.set_num_threads(1)
    model = OmniModel(make(compose("llama_omni/full", [])), ["speech.codec"]).eval()
    codec = model.codec("speech")
    assert isinstance(codec, StreamingCodec)
    model.get_parameter("speech.codec.dur_predictor.proj.bias").data.fill_(torch.tensor(1 + FRAMES).log())
    return codec
