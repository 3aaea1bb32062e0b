"""Sessions and servers that the tests of this folder share: random weights, built once."""

from collections.abc import Iterator

import pytest
from servers import Running, running

import omnikit
from omnikit.inference.session import Session


@pytest.fixture(scope="session")
def spoken() -> Session:
    """A session that takes and gives audio."""
    return omnikit.build("llama_omni/tiny", device="cpu")


@pytest.fixture(scope="session")
def server(spoken: Session) -> Iterator[Running]:
    """A server of it."""
    with running(spoken) as server:
        yield server


@pytest.fixture(scope="session")
def vision_server() -> Iterator[Running]:
    """A server of a model that takes images and videos and does not speak."""
    with running(omnikit.build("vita/tiny", device="cpu")) as server:
        yield server
