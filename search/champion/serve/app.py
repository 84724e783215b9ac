"""HTTP API (ASGI app, FastAPI): `/predict`, `/healthz`, `/metrics`, and a page at `/`.

uvicorn runs it on one machine and Ray Serve on many. Every refusal is JSON with a reason, and no
more bytes are read than the limits allow.
"""

import asyncio
import hmac
import logging
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any

from fastapi import FastAPI, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.types import Receive, Scope, Send

from chorale.search.bundle.prediction_json import predicted_labels
from chorale.search.bundle.predictor import Predictor
from chorale.search.champion.health.monitor import HealthMonitor
from chorale.search.champion.serve.limits import RefusedRequest, RequestLimits
from chorale.search.champion.serve.metrics import CONTENT_TYPE, Metrics
from chorale.search.champion.serve.prediction_service import (
    PredictionOptions,
    PredictionService,
    SimilarTracks,
)
from chorale.search.champion.serve.schema import ERROR_RESPONSES, REQUEST_BODY
from chorale.search.champion.serve.shadow import Shadow
from chorale.search.champion.serve.upload import receive_upload

PAGE_FILES = {
    "/": ("index.html", "text/html"),
    "/page.css": ("page.css", "text/css"),
    "/page.js": ("page.js", "text/javascript"),
    "/draw.js": ("draw.js", "text/javascript"),
    "/record.js": ("record.js", "text/javascript"),
}
PAGE_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "connect-src 'self'; img-src 'self' data:; media-src blob:; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}
RETRY_AFTER_S = 1
LINGER_S = 1.0


def create_app(
    predictor: Predictor,
    *,
    limits: RequestLimits | None = None,
    library: SimilarTracks | None = None,
    token: str | None = None,
    n_decoders: int = 1,
    health: HealthMonitor | None = None,
    shadow: Path | None = None,
) -> FastAPI:
    """The app of a loaded bundle.

    Args:
        predictor: the loaded bundle.
        limits: of requests.
        library: for similar tracks; without one the answers have none.
        token: required for predictions and metrics; None requires none.
        n_decoders: number of decoder processes.
        health: watches the answers; None watches them in memory only.
        shadow: another bundle that predicts the same recordings, later, and is watched in the same
            folder; None for none.
    """
    # invalid forms from clients must not fill the log
    logging.getLogger("python_multipart").setLevel(logging.ERROR)
    health = health or HealthMonitor(predictor.bundle)
    limits = limits or RequestLimits()
    state = _AppState(predictor, limits, library, token, n_decoders, health, shadow)
    about = predictor.bundle.manifest
    app = FastAPI(
        title="Chorale",
        description=str(about.about.get("headline", "")),
        version=predictor.bundle.digest[:12],
        docs_url=None,  # those pages load scripts from other hosts
        redoc_url=None,
        lifespan=state.lifespan,
    )
    app.add_exception_handler(RequestValidationError, _invalid)
    app.post("/predict", responses=ERROR_RESPONSES, openapi_extra=REQUEST_BODY)(state.predict)
    app.get("/healthz")(state.health)
    app.get("/metrics", response_class=Response)(state.metrics)
    app.get("/about")(state.about)
    for path, (name, kind) in PAGE_FILES.items():
        content = files("chorale.search.champion.serve").joinpath("page", name).read_bytes()
        app.get(path, include_in_schema=False)(_static(content, kind))
    return app


class _AppState:
    """The state of one app, and the handlers of its paths."""

    def __init__(
        self,
        predictor: Predictor,
        limits: RequestLimits,
        library: SimilarTracks | None,
        token: str | None,
        n_decoders: int,
        health: HealthMonitor,
        shadow: Path | None,
    ) -> None:
        self._predictor, self._limits, self._token = predictor, limits, token
        self._health = health
        self._library, self._n_decoders = library, n_decoders
        bundle = predictor.bundle
        self._metrics = Metrics(bundle=bundle.digest, study=bundle.manifest.study, health=health)
        self._service: PredictionService | None = None
        self._shadow_bundle = shadow
        self._shadow: Shadow | None = None
        self._n_waiting = 0

    @asynccontextmanager
    async def lifespan(self, _: FastAPI) -> AsyncIterator[None]:
        """Starts the decoders before the first request; ends threads and processes at shutdown."""
        try:
            await self._prediction_service().start()
            yield
        finally:
            if self._shadow is not None:
                self._shadow.close()
            if self._service is not None:
                self._service.close()
            self._health.close()

    async def predict(
        self,
        request: Request,
        top: Annotated[int, Query(ge=1, le=1000, description="Number of labels to name.")] = 3,
        timeline: Annotated[bool, Query(description="Also predict each segment.")] = False,
        segment_s: Annotated[
            float, Query(ge=0.5, le=600, description="Length of a segment in seconds.")
        ] = 3.0,
        peaks: Annotated[
            int, Query(ge=0, le=4000, description="Number of waveform peaks, to draw it.")
        ] = 0,
    ) -> Response:
        """Classifies a recording: label or labels, probabilities, conformal set, similar tracks."""
        began_s = time.perf_counter()
        options = PredictionOptions(top, segment_s if timeline else None, peaks or None)
        try:
            answer = await self._predict(request, options)
        except RefusedRequest as refusal:
            self._metrics.requests.labels(refusal.status, refusal.reason).inc()
            return _refusal(refusal)
        except Exception:
            self._metrics.requests.labels(500, "fault").inc()
            raise
        self._metrics.requests.labels(200, "").inc()
        self._metrics.seconds.observe(time.perf_counter() - began_s)
        self._metrics.audio_seconds.inc(answer["duration_s"])
        self._metrics.count(predicted_labels(answer))
        return JSONResponse(answer)

    async def _predict(self, request: Request, options: PredictionOptions) -> dict[str, Any]:
        self._check(request)
        if self._n_waiting >= self._limits.queue:
            detail = f"{self._n_waiting} requests are waiting; try again in a second"
            raise RefusedRequest(503, "busy", detail, unread=True)
        self._n_waiting += 1
        self._metrics.waiting.set(self._n_waiting)
        try:
            with tempfile.NamedTemporaryFile(prefix="chorale-") as file:
                await receive_upload(request.headers, request.stream(), file, limits=self._limits)
                answer = await self._prediction_service().predict(file.name, options)
            return answer | {"bundle": self._predictor.bundle.digest}
        finally:
            self._n_waiting -= 1
            self._metrics.waiting.set(self._n_waiting)

    def _prediction_service(self) -> PredictionService:
        if self._service is None:
            if self._shadow_bundle is not None:
                self._shadow = Shadow(self._shadow_bundle, self._health.folder, self._metrics)
            self._service = PredictionService(
                self._predictor, limits=self._limits, library=self._library,
                n_decoders=self._n_decoders, observe=self._health.observe, shadow=self._shadow,
            )  # fmt: skip
        return self._service

    async def health(self) -> dict[str, Any]:
        """Liveness check."""
        return {"status": "ok", "bundle": self._predictor.bundle.digest}

    async def metrics(self, request: Request) -> Response:
        """Counters, latencies and the bundle's health in Prometheus' text format."""
        try:
            self._check(request)
        except RefusedRequest as refusal:
            return _refusal(refusal)
        return Response(self._metrics.text(), media_type=CONTENT_TYPE)

    async def about(self) -> dict[str, Any]:
        """The served bundle, and the limits of requests; of several labels also thresholds."""
        manifest = self._predictor.bundle.manifest
        several = {"task": manifest.task, "thresholds": manifest.thresholds}
        return {
            "study": manifest.study,
            "headline": manifest.about.get("headline", ""),
            "labels": manifest.labels,
            "coverage": manifest.coverage,
            "has_library": self._library is not None,
            "needs_token": self._token is not None,
            "body_mb": self._limits.body_mb,
            "duration_s": self._limits.duration_s,
            **(several if manifest.multi_label else {}),
        }

    def _check(self, request: Request) -> None:
        if self._token is None:
            return
        kind, _, shown = request.headers.get("authorization", "").partition(" ")
        if kind.lower() != "bearer" or not hmac.compare_digest(
            shown.strip().encode(), self._token.encode()
        ):
            detail = "this server requires a token: send the header Authorization: Bearer TOKEN"
            raise RefusedRequest(401, "no token", detail, unread=True)


class _EarlyResponse(JSONResponse):
    """A response to a request whose body is still arriving.

    If the connection were closed at once, the client could not read the reason. So the rest of the
    body is received and dropped for up to `LINGER_S`.
    """

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        del scope
        await send(
            {"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers}
        )
        await send({"type": "http.response.body", "body": self.body, "more_body": True})
        with suppress(TimeoutError):
            async with asyncio.timeout(LINGER_S):
                while (message := await receive()).get("more_body"):
                    del message
        await send({"type": "http.response.body", "body": b"", "more_body": False})


def _refusal(refusal: RefusedRequest) -> Response:
    headers = {"Connection": "close"} if refusal.unread else {}
    if refusal.status == 503:
        headers["Retry-After"] = str(RETRY_AFTER_S)
    if refusal.status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    content = {"error": refusal.reason, "detail": refusal.detail}
    kind = _EarlyResponse if refusal.unread else JSONResponse
    return kind(content, refusal.status, headers)


async def _invalid(_: Request, error: Exception) -> Response:
    """The refusal of an invalid parameter, in the same form as all others."""
    found = error.errors() if isinstance(error, RequestValidationError) else []
    detail = "; ".join(f"{one['loc'][-1]}: {one['msg']}, but got '{one['input']}'" for one in found)
    return _refusal(RefusedRequest(422, "bad parameter", detail, unread=True))


def _static(content: bytes, kind: str) -> Callable[[], Awaitable[Response]]:
    async def answer() -> Response:
        return Response(content, headers=PAGE_HEADERS, media_type=f"{kind}; charset=utf-8")

    return answer
