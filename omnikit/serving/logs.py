"""One JSON object a line for whatever a server does; never text or audio of a conversation."""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime

log = logging.getLogger("omnikit.serving")
OWN = ("omnikit.serving", "uvicorn")
FIELDS = "fields"  # attribute of a record with the values of its line


class JsonLines(logging.Formatter):
    """Gives a record as one line of JSON; of other parts of omnikit without the values, which may be text of a conversation."""

    def format(self, record: logging.LogRecord) -> str:
        """Give time, level, message and the record's own fields."""
        time = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        message = record.getMessage() if record.name.startswith(OWN) else str(record.msg)
        line = {"time": time, "level": record.levelname.lower(), "logger": record.name, "message": message,
                **getattr(record, FIELDS, {})}
        if record.exc_info:
            line["trace"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False, default=str)


def note(message: str, level: int = logging.INFO, **fields: str | float | None) -> None:
    """Log something that happened, with its values."""
    log.log(level, message, extra={FIELDS: {name: round(value, 6) if isinstance(value, float) else value
                                            for name, value in fields.items() if value is not None}})


def write_json_lines() -> None:
    """Send this server's and uvicorn's records to standard error, a line of JSON each."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines())
    for name in ("omnikit", "uvicorn.error"):
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [handler], False
        logger.setLevel(logging.INFO)
    logging.getLogger("uvicorn.access").disabled = True
