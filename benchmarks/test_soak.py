"""Memory of a server whose conversations come and go: after the first ones it stays, whatever they say.

Every conversation asks something new. Of ten, one is spoken, one is cut off in the middle of its answer, one is interrupted by
its client. `python benchmarks/test_soak.py 1000` is the long form: a line for every tenth.
"""

import asyncio
import random
import sys
import time
from collections.abc import Sequence

from bench_table import Measures
from random_server import RandomServer, random_server
from realtime_client import AUDIO_DELTA, conversation, spoken

FIRST, CONVERSATIONS, TOGETHER, TOKENS, LONG = 60, 60, 4, 16, 300
SETTLE = 2.5  # seconds
GROWTH = 150.0  # KiB for each conversation: less than the audio that one gives, and more than malloc still takes so early
WORDS = ["what", "is", "two", "plus", "one", "three", "four", "five", "six", "seven", "how", "many", "apples", "are", "in",
         "the", "box", "tell", "me", "about", "cats", "dogs", "birds", "trees", "rivers", "and", "their", "names", "green"]


def test_conversations_leave_no_memory_behind(measures: Measures) -> None:
    with random_server() as server:
        asyncio.run(converse(server, range(FIRST)))
        before = settled(server)
        asyncio.run(converse(server, range(FIRST, FIRST + CONVERSATIONS)))
        after = settled(server)
    measures.number(f"a server after {FIRST} conversations", before, "MB")
    measures.number(f"each of {CONVERSATIONS} later conversations", 1024 * (after - before) / CONVERSATIONS, "KiB", most=GROWTH)


async def converse(server: RandomServer, numbers: Sequence[int]) -> None:
    """Have conversations, some at the same time."""
    gate = asyncio.Semaphore(TOGETHER)

    async def one(number: int) -> None:
        async with gate:
            await converse_once(server, number)

    await asyncio.gather(*map(one, numbers))


async def converse_once(server: RandomServer, number: int) -> None:
    """Ask once; what is asked, and how the conversation ends, depends on its number."""
    draw, kind = random.Random(number), number % 10
    async with conversation(server.socket_url, max_output_tokens=TOKENS) as made:
        if kind == 0:
            await made.speak(spoken(" ".join(draw.choices(WORDS, k=draw.randint(3, 8)))), speed=1000)
        else:
            await made.ask(" ".join(draw.choices(WORDS, k=8)), LONG if kind == 2 else TOKENS)
        if kind == 1:
            await made.until(AUDIO_DELTA)
            return
        if kind == 2:
            await made.until(AUDIO_DELTA)
            await made.send("response.cancel")
        await made.until("response.done")


def settled(server: RandomServer) -> float:
    """Give a server's memory when it has had time to give back what is free."""
    time.sleep(SETTLE)
    return server.megabytes


def main(conversations: int) -> None:
    """Print the memory of a server after each tenth of its conversations."""
    part = conversations // 10
    with random_server() as server:
        print(f"{0:6} {server.megabytes:8.1f} MB", flush=True)
        for start in range(0, conversations, part):
            asyncio.run(converse(server, range(start, start + part)))
            print(f"{start + part:6} {settled(server):8.1f} MB", flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]))
