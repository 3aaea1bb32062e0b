"""The ASGI app: all routes around one service."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException

from omnikit.errors import OmnikitError
from omnikit.serving.audio_routes import audio_routes
from omnikit.serving.chat import chat_routes
from omnikit.serving.errors import protocol_error
from omnikit.serving.guard import Guard
from omnikit.serving.logs import log
from omnikit.serving.page_routes import page_routes
from omnikit.serving.protocol.fields import JsonObject, ProtocolError
from omnikit.serving.realtime import realtime_routes
from omnikit.serving.service import Service


def create_app(service: Service) -> FastAPI:
    """Give the app; nothing in it is loaded from another server, so FastAPI's own pages are off."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        service.model.start()
        yield
        service.model.stop()

    app = FastAPI(title="omnikit", docs_url=None, redoc_url=None, openapi_url=None, lifespan=lifespan)
    app.add_middleware(Guard, service=service)
    app.include_router(audio_routes(service))
    app.include_router(chat_routes(service))
    app.include_router(realtime_routes(service))
    app.include_router(page_routes(service))
    _add_status(app, service)
    _add_errors(app, service)
    return app


def _add_status(app: FastAPI, service: Service) -> None:
    @app.get("/health")
    async def health() -> Response:
        return JSONResponse({"status": "ok" if service.model.alive else "failed"}, 200 if service.model.alive else 500)

    @app.get("/ready")
    async def ready() -> Response:
        state = "ready" if service.ready else "draining" if service.draining else "failed"
        return JSONResponse({"status": state, "requests": service.requests, "sessions": service.sessions},
                            200 if service.ready else 503)

    @app.get("/metrics")
    async def metrics() -> Response:
        return Response(service.metrics.text(), media_type="text/plain; version=0.0.4")

    @app.get("/v1/models")
    async def models() -> Response:
        return JSONResponse({"object": "list", "data": [_model(service)]})

    @app.get("/v1/models/{name:path}")
    async def model(name: str) -> Response:
        if name != service.settings.name:
            raise ProtocolError(f"There is no model {name[:80]!r} here; this server has {service.settings.name!r}.",
                                "model_not_found", "model", status=404)
        return JSONResponse(_model(service))


def _model(service: Service) -> JsonObject:
    plan = service.session.plan
    media = sorted({kind for branch in plan.inputs.values() for kind in branch.media})
    return {"id": service.settings.name, "object": "model", "created": service.created, "owned_by": "omnikit",
            "input_modalities": ["text", *media], "output_modalities": ["text", *(["audio"] if service.can_speak else [])]}


def _add_errors(app: FastAPI, service: Service) -> None:
    @app.exception_handler(OmnikitError)
    async def refuse(request: Request, error: OmnikitError) -> Response:
        found = protocol_error(error)
        if found.status >= 500 and not isinstance(error, ProtocolError):
            log.error("%s", error)
        service.metrics.errors.labels(found.code).inc()
        headers = {"Retry-After": "1"} if found.status in (429, 503) else None
        return JSONResponse({"error": found.body()}, found.status, headers)

    @app.exception_handler(HTTPException)
    async def refuse_route(request: Request, error: HTTPException) -> Response:
        code = {404: "not_found", 405: "method_not_allowed"}.get(error.status_code, "invalid_request")
        found = ProtocolError(f"{request.method} {request.url.path[:80]}: {error.detail}.", code, status=error.status_code)
        return JSONResponse({"error": found.body()}, error.status_code)

    @app.exception_handler(Exception)
    async def fail(request: Request, error: Exception) -> Response:
        log.exception("A request has failed.", exc_info=error)
        found = ProtocolError("The server has a problem; its log has more.", "server_error", kind="server_error", status=500)
        return JSONResponse({"error": found.body()}, 500)
