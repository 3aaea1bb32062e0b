"""The same app as replicas of Ray Serve, each with weights of its own.

A Realtime session stays with its replica, because its WebSocket does; other requests hold no state, so any replica takes them.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from omnikit.errors import ConfigError
from omnikit.serving.address import Address
from omnikit.serving.settings import Limits, Settings
from omnikit.store.quantise import LoadIn

if TYPE_CHECKING:
    from fastapi import FastAPI

NAME = "omnikit"


@dataclass(frozen=True)
class Replicas:
    """What is served, and how often.

    Args:
        run: a run's folder, absolute, which every machine of the cluster can read.
        dtype: of the backbone's weights.
        load_in: 8bit or 4bit for the backbone's matrices.
    """

    run: str
    count: int = 2
    dtype: str | None = None
    load_in: LoadIn | None = None


def deploy(build: Callable[[], FastAPI], count: int, limits: Limits, address: Address) -> None:
    """Start replicas of an app, which each makes in its own process, and wait until they are ready.

    Raises:
        ConfigError: Ray Serve is not installed.
    """
    try:
        import ray
        from ray import serve
    except ImportError:
        raise ConfigError("--engine ray needs ray[serve], which is not installed; pip install 'omnikit[ray]'.") from None
    if not ray.is_initialized():
        ray.init(address=os.environ.get("RAY_ADDRESS"), include_dashboard=False, log_to_driver=False)
    options: dict[str, str | int] = {"host": address.host, "port": address.port}
    if address.certificate and address.key:
        options |= {"ssl_certfile": str(address.certificate), "ssl_keyfile": str(address.key)}
    serve.start(http_options=options)
    gpus = 1 if ray.cluster_resources().get("GPU") else 0  # type: ignore[no-untyped-call]  # ray has no types here
    deployment = serve.deployment(
        serve.ingress(build)(), name=NAME, num_replicas=count, max_ongoing_requests=limits.requests + limits.sessions,
        graceful_shutdown_timeout_s=limits.drain_seconds, ray_actor_options={"num_cpus": 1, "num_gpus": gpus})
    serve.run(deployment.bind(), name=NAME, route_prefix="/")  # type: ignore[attr-defined]  # nor here


def replica_app(replicas: Replicas, settings: Settings) -> FastAPI:
    """Give the app of one replica, in its process."""
    from omnikit.inference.scheduler.engine_pair import live_engine
    from omnikit.inference.session import load
    from omnikit.serving.app import create_app
    from omnikit.serving.logs import write_json_lines
    from omnikit.serving.service import Service

    write_json_lines()
    session = load(replicas.run, dtype=replicas.dtype, load_in=replicas.load_in)
    return create_app(Service(session, live_engine(session), settings))


def shut_down() -> None:
    """End the replicas."""
    import ray
    from ray import serve

    serve.shutdown()  # type: ignore[no-untyped-call]  # nor here
    ray.shutdown()  # type: ignore[no-untyped-call]  # nor here


def serve_with_ray(replicas: Replicas, settings: Settings, address: Address) -> None:
    """Serve until SIGTERM or Ctrl-C."""
    deploy(lambda: replica_app(replicas, settings), replicas.count, settings.limits, address)
    try:
        signal.sigwait({signal.SIGTERM, signal.SIGINT})
    finally:
        shut_down()
