"""Errors of the model's side as clients get them."""

from __future__ import annotations

from omnikit.errors import AdmissionError, ConfigError, DataError, OmnikitError, PlanError
from omnikit.serving.protocol.fields import ProtocolError


def protocol_error(error: OmnikitError) -> ProtocolError:
    """Give an error with its code and status; what the client cannot fix is the server's."""
    if isinstance(error, ProtocolError):
        return error
    if isinstance(error, AdmissionError):
        return ProtocolError(str(error), "server_overloaded", kind="server_error", status=503)
    if isinstance(error, DataError):
        code = "context_length_exceeded" if "context" in str(error) else "invalid_value"
        return ProtocolError(str(error), code)
    if isinstance(error, PlanError):
        return ProtocolError(str(error), "unsupported_model")
    if isinstance(error, ConfigError):
        return ProtocolError(str(error), "invalid_value")
    return ProtocolError("The server has a problem; its log has more.", "server_error", kind="server_error", status=500)
