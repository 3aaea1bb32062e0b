"""What the server adds to the time to first token of the bare model, both in one run and in turn.

The client is a process of its own, as clients are.
"""

import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from bench_table import Measures
from pytest_benchmark.fixture import BenchmarkFixture

import omnikit
from omnikit.inference.engine import AnswerEngine, AnswerOptions
from omnikit.inference.question import question
from omnikit.inference.scheduler.batch import engine_for
from omnikit.inference.session import Session

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from servers import running

ROUNDS, WARM_UP = 60, 10
MOST_ADDED_MS = 10.0  # the median: the 95th percentile depends on what else the machine does
CLIENT = """
import json, sys, time, httpx
body = {"messages": [{"role": "user", "content": "How many?"}], "max_tokens": 3, "stream": True}
with httpx.Client(timeout=30) as client:
    for line in sys.stdin:
        start, first = time.perf_counter(), None
        with client.stream("POST", sys.argv[1], json=body) as response:
            for text in response.iter_lines():
                if first is None and text.startswith("data: {") and json.loads(text[6:])["choices"][0]["delta"].get("content"):
                    first = time.perf_counter() - start
        print(first, flush=True)
"""


@pytest.fixture(scope="module")
def session() -> Session:
    return omnikit.build("llama_omni/tiny", device="cpu")


def bare_seconds(engine: AnswerEngine) -> float:
    """Give the seconds to the first token of an answer that nothing serves."""
    start = time.perf_counter()
    stream = engine.begin(question(text="How many?"), AnswerOptions(max_new_tokens=3, speak=False))
    while not any(event.text for event in stream.take()):
        engine.step()
    seconds = time.perf_counter() - start
    while engine.step():
        stream.take()
    return seconds


def served_seconds(url: str) -> Iterator[float]:
    """Give the seconds to the first token of one answer after another that a client in its own process gets."""
    command = [sys.executable, "-c", CLIENT, f"{url}/v1/chat/completions"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as client:
        assert client.stdin and client.stdout
        while True:
            print("go", file=client.stdin, flush=True)
            yield float(client.stdout.readline())


def test_the_server_adds_little_to_the_time_to_first_token(session: Session, measures: Measures,
                                                          benchmark: BenchmarkFixture) -> None:
    with running(session) as server:
        engine, served = engine_for(session), served_seconds(server.url)
        pairs = [(bare_seconds(engine), next(served)) for _ in range(ROUNDS + WARM_UP)][WARM_UP:]
        served.close()
    added = sorted(1000 * (seconds - bare) for bare, seconds in pairs)
    measures.number("time to first token, bare", 1000 * statistics.median(bare for bare, _ in pairs), "ms")
    measures.number("added by the server, median", statistics.median(added), "ms", most=MOST_ADDED_MS)
    measures.number("added by the server, 95 %", added[int(0.95 * ROUNDS)], "ms")
    benchmark.pedantic(lambda: None, rounds=1)
