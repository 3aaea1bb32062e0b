"""The duplex bench: plays every scenario against a run or a server and writes the report."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from omnikit.errors import ConfigError, nearest
from omnikit.evaluation.duplex import report
from omnikit.evaluation.duplex.conversation import Conversation
from omnikit.evaluation.duplex.local_peer import LocalPeer
from omnikit.evaluation.duplex.player import Peer, play
from omnikit.evaluation.duplex.realtime_peer import RealtimePeer
from omnikit.evaluation.duplex.results import Json
from omnikit.evaluation.duplex.scenario import Scenario, read
from omnikit.evaluation.duplex.user_audio import find_tts, room_noise, scenario_audio
from omnikit.inference.live.session import LiveSession
from omnikit.inference.scheduler.engine_pair import live_engine
from omnikit.inference.session import Session
from omnikit.progress import progress
from omnikit.recipe.live import TurnPolicy


@dataclass(frozen=True)
class Target:
    """What is measured: `begin` gives the model's side of a new conversation; `conditions` are part of the report."""

    begin: Callable[[], Peer]
    conditions: Mapping[str, object]


def of_session(session: Session, *, run: str, seed: int = 0, pace: int = 4, policy: TurnPolicy | None = None) -> Target:
    """Measure a run in this process: by the input clock alone, so twice the same report.

    Args:
        run: its fingerprint, which the report states.
        pace: decoding steps in 32 ms of the user's audio.
        policy: how turns are taken; None: the recipe's.
    """
    chosen = policy or session.plan.recipe.live.policy
    engine = live_engine(session, chosen)
    conditions = {"target": session.plan.recipe.name, "run": run, "clock": "input",
                  "decoding_steps_per_second": round(pace * 1000 / 32, 1),
                  "seed": seed, **asdict(chosen)}
    return Target(lambda: LocalPeer(LiveSession(session, engine, chosen, seed=seed, pace=pace)), conditions)


def of_server(url: str, *, key: str | None = None, turn_detection: str | None = None, speed: float = 1.0,
              seed: int = 0) -> Target:
    """Measure a Realtime server, in real time or `speed` times faster; see RealtimePeer."""
    conditions = {"target": url.partition("?")[0], "clock": "real time", "speed": speed, "turn_detection": turn_detection,
                  "seed": seed}
    return Target(lambda: RealtimePeer(url, key, turn_detection, speed), conditions)


def chosen(path: Path | None, only: Sequence[str], variants: int | None = None) -> list[Scenario]:
    """Give the scenarios of a file, or some of them by id or group; raises ConfigError for an unknown one."""
    found = read(path, variants)
    names = list(dict.fromkeys(name for one in found for name in (one.group, one.id) if name))
    if unknown := [name for name in only if name not in names]:
        raise ConfigError(f"--only {unknown[0]} is not a scenario.{nearest(unknown[0], names)} There are"
                          f" {', '.join(dict.fromkeys(one.group or one.id for one in found))}.")
    return [one for one in found if not only or one.id in only or one.group in only]


def run(target: Target, scenarios: Sequence[Scenario], out: Path, *, seed: int = 0) -> Json:
    """Play the scenarios, write the report into `out` and give its content.

    Raises:
        OmnikitError: no text-to-speech is installed, a server refuses, or the disk does.
    """
    tts, conversations = find_tts(), list[Conversation]()
    with progress("bench duplex", stderr=True) as done:
        for number, scenario in enumerate(scenarios, 1):
            peer = target.begin()
            try:
                conversations.append(play(scenario, scenario_audio(scenario, tts, peer.rate, seed), peer,
                                          room_noise(scenario, peer.rate, seed)))
            finally:
                peer.close()
            done(number / len(scenarios))
    texts = json.dumps([asdict(one) for one in scenarios], sort_keys=True)
    conditions = {**target.conditions, "scenarios": hashlib.sha256(texts.encode()).hexdigest()[:8], "tts": tts.version}
    return report.write(conversations, conditions, out)
