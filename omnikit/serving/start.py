"""From a session to a running server."""

from __future__ import annotations

from socket import socket

from omnikit.inference.scheduler.engine_pair import live_engine
from omnikit.inference.session import Session
from omnikit.serving.address import Address
from omnikit.serving.app import create_app
from omnikit.serving.logs import note, write_json_lines
from omnikit.serving.memory import freeze_objects
from omnikit.serving.server import Server
from omnikit.serving.service import Service
from omnikit.serving.settings import Settings


def make_server(session: Session, settings: Settings, address: Address) -> Server:
    """Give a server that is not started."""
    service = Service(session, live_engine(session), settings)
    return Server(create_app(service), service, address)


def serve(session: Session, settings: Settings, address: Address, listener: socket) -> None:
    """Serve at a socket that omnikit.serving.server.bind gave, until a signal ends it."""
    write_json_lines()
    note("serving", address=address.url, model=settings.name, keys=len(settings.keys))
    server = make_server(session, settings, address)
    freeze_objects()
    server.run([listener])
