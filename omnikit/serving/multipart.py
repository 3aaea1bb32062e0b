"""Forms with files (multipart/form-data) in memory, by the standard library's own parser of messages."""

from __future__ import annotations

from dataclasses import dataclass
from email.parser import BytesParser
from email.policy import HTTP

from omnikit.serving.protocol.fields import ProtocolError

MAX_FIELDS = 64


@dataclass(frozen=True)
class FormField:
    """A field of a form; a file has a name, which is shown in messages and used for nothing else."""

    data: bytes
    filename: str | None = None

    @property
    def text(self) -> str:
        """The value of a field that is not a file."""
        return self.data.decode("utf-8", "replace")


def parse_form(body: bytes, content_type: str) -> dict[str, FormField]:
    """Give the fields of a form; of fields with one name the last.

    Raises:
        ProtocolError: the body is not such a form.
    """
    if not content_type.lower().startswith("multipart/form-data"):
        raise ProtocolError("The request must be a form with a file (multipart/form-data).", "invalid_content_type")
    head = b"Content-Type: " + content_type.encode("latin-1", "replace").replace(b"\n", b"").replace(b"\r", b"") + b"\r\n\r\n"
    message = BytesParser(policy=HTTP).parsebytes(head + body)
    parts = list(message.iter_parts()) if message.is_multipart() else []
    if not parts or len(parts) > MAX_FIELDS:
        raise ProtocolError(f"The form must have from 1 to {MAX_FIELDS} fields.", "invalid_form")
    found = {}
    for part in parts:
        name, data = part.get_param("name", header="content-disposition"), part.get_payload(decode=True)
        if isinstance(name, str) and isinstance(data, bytes):
            found[name] = FormField(data, part.get_filename())
    return found
