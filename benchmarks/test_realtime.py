"""What a Realtime client waits for, over a socket: first audio and the gaps behind it, the end of audio when it interrupts.

The server is a process of its own (llama_omni/tiny, random weights, one thread), the client another. Times are on the clock, so
they hold for this machine, and their limits for one on which nothing else runs.
"""

import asyncio
import time
from collections.abc import Iterator
from itertools import accumulate, pairwise

import numpy as np
import pytest
from bench_table import Measures
from numpy.typing import NDArray
from omnikit_silero.config import Silero
from random_server import RandomServer, random_server
from realtime_client import AUDIO_DELTA, RATE, Conversation, conversation, spoken

from omnikit.inference.live.resampler import ResamplerState, resample
from omnikit.inference.live.speech_segments import SpeechSegments
from omnikit.recipe.live import TurnPolicy

ROUNDS, TOKENS, LONG, IDLE = 8, 48, 400, 24
MOST_AUDIO_MS = 100.0  # from the beginning of speech, as voice activity detection finds it, to the last audio
PIECE = 0.032  # seconds of audio that a microphone gives at once


@pytest.fixture(scope="module")
def server() -> Iterator[RandomServer]:
    with random_server() as server:
        asyncio.run(answers(server, 4))  # compiles convolutions
        yield server


async def answers(server: RandomServer, count: int, tokens: int = TOKENS) -> list[tuple[float, Conversation]]:
    """Ask in so many conversations at once; gives when each asked, and its events."""
    async def one(number: int) -> tuple[float, Conversation]:
        async with conversation(server.socket_url) as made:
            await barrier.wait()
            asked = await made.ask("what is two plus one " * (1 + number % 3), tokens)
            await made.until("response.done")
            return asked, made

    barrier = asyncio.Barrier(count)
    return await asyncio.gather(*map(one, range(count)))


@pytest.mark.parametrize("count", [1, 4, 16])
def test_first_audio_and_the_gaps_behind_it(server: RandomServer, measures: Measures, count: int) -> None:
    first, gaps, late = list[float](), list[float](), list[float]()
    for _ in range(max(ROUNDS // count, 1)):
        for asked, made in asyncio.run(answers(server, count)):
            given = [event for event in made.events if event.kind == AUDIO_DELTA]
            times = [1000 * (event.at - asked) for event in given]
            played = accumulate((1000 * event.audio_seconds for event in given), initial=times[0])
            first.append(times[0])
            gaps += [after - before for before, after in pairwise(times)]
            late.append(max(came - due for came, due in zip(times, played, strict=False)))
    measures.number(f"time to first audio, {count} at once, median", float(np.median(first)), "ms")
    measures.number(f"time to first audio, {count} at once, p95", float(np.quantile(first, 0.95)), "ms")
    measures.number(f"between two audio deltas, {count} at once, median", float(np.median(gaps)), "ms")
    measures.number(f"between two audio deltas, {count} at once, p95", float(np.quantile(gaps, 0.95)), "ms")
    measures.number(f"longest silence in an answer that plays as it comes, {count} at once", max(late), "ms")


@pytest.mark.parametrize("count", [1, 4])
def test_audio_ends_when_the_user_speaks(server: RandomServer, measures: Measures, count: int) -> None:
    """The last audio against the time at which the piece was sent in which voice activity detection finds the speech."""
    audio = spoken("what is two plus one")[:RATE]
    piece = detecting_piece(audio)
    late, after_event = list[float](), list[float]()

    async def one() -> None:
        async with conversation(server.socket_url) as made:
            await made.ask("count to a hundred", LONG)
            await made.until(AUDIO_DELTA)
            start = time.perf_counter()
            speaking = asyncio.create_task(made.speak(audio, piece=PIECE))
            await made.until("response.done")
            await speaking
            last = max(event.at for event in made.events if event.kind == AUDIO_DELTA)
            begun = next(event.at for event in made.events if event.kind == "input_audio_buffer.speech_started")
            assert made.events[-1].content["response"]["status"] == "cancelled", "the answer ran when the user spoke"  # type: ignore[index]  # of JSON
            late.append(max(1000 * (last - start - piece * PIECE), 0))
            after_event.append(max(1000 * (last - begun), 0))

    async def together() -> None:
        await asyncio.gather(*(one() for _ in range(count)))

    for _ in range(ROUNDS):
        asyncio.run(together())
    measures.number(f"last audio after the beginning of speech, {count} at once, median", float(np.median(late)), "ms")
    measures.number(f"last audio after the beginning of speech, {count} at once, p95", float(np.quantile(late, 0.95)), "ms",
                    most=MOST_AUDIO_MS)
    measures.number(f"last audio after speech_started came, {count} at once, p95", float(np.quantile(after_event, 0.95)), "ms")


def detecting_piece(audio: NDArray[np.float32]) -> int:
    """Give the number of the piece with which voice activity detection finds speech, by the server's own components."""
    vad, segments, resampler = Silero().build(), SpeechSegments(), ResamplerState(RATE)
    state, rest, clock, size = vad.init_state(), np.zeros(0, np.float32), 0, int(PIECE * RATE)
    for number in range(len(audio) // size):
        rest = np.concatenate([rest, resample(audio[number * size:(number + 1) * size], resampler)])
        while len(rest) >= 512:
            probability, state = vad.step(rest[:512], state)
            rest, clock = rest[512:], clock + 512
            if segments.push(probability, clock - 512, clock, TurnPolicy()) == "started":
                return number
    raise AssertionError("there is speech")


def test_memory_of_idle_sessions(server: RandomServer, measures: Measures) -> None:
    async def idle() -> float:
        async with asyncio.TaskGroup() as group, asyncio.timeout(60):
            ready, leave = asyncio.Barrier(IDLE + 1), asyncio.Event()

            async def one() -> None:
                async with conversation(server.socket_url) as made:
                    await made.ask("what is two plus one", 8)
                    await made.until("response.done")
                    await ready.wait()
                    await leave.wait()

            before = server.megabytes
            for _ in range(IDLE):
                group.create_task(one())
            await ready.wait()
            memory = server.megabytes - before
            leave.set()
        return memory

    measures.number(f"a session that has answered once and waits, of {IDLE}", 1024 * asyncio.run(idle()) / IDLE, "KiB")
