"""The page at /: static files of the package, read once; a browser may fetch nothing from anywhere else."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from importlib.resources import files

from fastapi import APIRouter
from fastapi.responses import JSONResponse, Response

from omnikit.serving.service import Service

TYPES = {".html": "text/html; charset=utf-8", ".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8",
         ".svg": "image/svg+xml"}
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self';"
                               " img-src 'self' data:; media-src 'self' blob:; base-uri 'none'; form-action 'none';"
                               " frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer", "Cache-Control": "no-cache",
    "Cross-Origin-Opener-Policy": "same-origin", "Permissions-Policy": "microphone=(self), camera=(self)",
}


def page_routes(service: Service) -> APIRouter:
    """Give the routes; only the names of files that are there are routes."""
    router = APIRouter()
    for name, data, media_type in page_files():
        router.add_api_route("/" if name == "index.html" else f"/{name}", _file(data, media_type), methods=["GET"])

    @router.get("/page/model")
    async def model() -> Response:
        return JSONResponse({"model": service.settings.name}, headers=HEADERS)

    return router


def page_files() -> list[tuple[str, bytes, str]]:
    """Give name, content and media type of each file of the page."""
    folder = files("omnikit.serving.page")
    return sorted((one.name, one.read_bytes(), TYPES[suffix]) for one in folder.iterdir()
                  for suffix in [f".{one.name.rpartition('.')[2]}"] if suffix in TYPES)


def _file(data: bytes, media_type: str) -> Callable[[], Awaitable[Response]]:
    async def send() -> Response:
        return Response(data, media_type=media_type, headers=HEADERS)

    return send
