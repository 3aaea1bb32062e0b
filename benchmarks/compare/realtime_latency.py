"""What a Realtime server adds to its models, by the stock `openai` client: from a typed question to its first audio.

    python benchmarks/compare/realtime_latency.py http://127.0.0.1:PORT/v1 ROUNDS
"""

import asyncio
import json
import sys
import time

import numpy as np
import openai

WARM_UP = 10
PAUSE = 0.05  # seconds between two questions


async def latencies(url: str, rounds: int) -> list[float]:
    """Give the milliseconds from each question to the first audio of its answer, in one conversation."""
    client, found = openai.AsyncOpenAI(base_url=url, api_key="none"), list[float]()
    async with client.realtime.connect(model="stub") as connection:
        while (await connection.recv()).type != "session.created":
            pass
        for _ in range(rounds + WARM_UP):
            content = [{"type": "input_text", "text": "What is it?"}]
            await connection.send({"type": "conversation.item.create",
                                   "item": {"type": "message", "role": "user", "content": content}})
            start, first = time.perf_counter(), 0.0
            await connection.send({"type": "response.create"})
            while (event := await connection.recv()).type != "response.done":
                assert event.type != "error", event
                if event.type == "response.output_audio.delta" and not first:
                    first = 1000 * (time.perf_counter() - start)
            found.append(first)
            await asyncio.sleep(PAUSE)
    return found[WARM_UP:]


def main(url: str, rounds: str) -> None:
    """Print the median and the 95th percentile as JSON."""
    found = asyncio.run(latencies(url, int(rounds)))
    print(json.dumps({"rounds": len(found), "median_ms": round(float(np.median(found)), 2),
                      "p95_ms": round(float(np.quantile(found, 0.95)), 2)}))


if __name__ == "__main__":
    main(*sys.argv[1:])
