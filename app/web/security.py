"""Headers on every response, refusal of requests that another site sent, and a request id on every log line."""

import uuid
from urllib.parse import urlsplit

import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_CSP = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
_FEATURES = (
    "accelerometer", "autoplay", "bluetooth", "browsing-topics", "camera", "display-capture", "encrypted-media",
    "fullscreen", "gamepad", "geolocation", "gyroscope", "hid", "idle-detection", "local-fonts", "magnetometer",
    "microphone", "midi", "payment", "picture-in-picture", "publickey-credentials-get", "screen-wake-lock", "serial",
    "usb", "web-share", "xr-spatial-tracking",
)  # fmt: skip
"""What a browser can do for a page, none of which is needed here."""

HEADERS = {
    "Content-Security-Policy": _CSP,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
    "Permissions-Policy": ", ".join(f"{feature}=()" for feature in _FEATURES),
    "X-Frame-Options": "DENY",  # for browsers that do not know frame-ancestors
    "X-Permitted-Cross-Domain-Policies": "none",
}
HTTPS_ONLY = "max-age=31536000"
"""Said on HTTPS alone: this host is asked by HTTPS for a year. Not for its subdomains, which may be anybody's."""

_SAFE = {"GET", "HEAD", "OPTIONS"}
_FOUND = (200, 206, 304)
_FOREVER = "public, max-age=31536000, immutable"


def sent_by_another_site(method: str, headers: Headers) -> bool:
    """Whether a browser says that a changing request came from elsewhere (CSRF).

    ``Sec-Fetch-Site`` decides where it is sent; older browsers send ``Origin``, which must name this host.
    A request with neither comes from no browser and carries no cookie by accident.
    """
    if method in _SAFE:
        return False
    site = headers.get("sec-fetch-site")
    if site is not None:
        return site not in ("same-origin", "none")
    origin = headers.get("origin")
    return origin is not None and urlsplit(origin).netloc != headers.get("host", "")


class SecurityMiddleware:
    """Plain ASGI, so that event streams pass through unbuffered."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Check the request, then add the headers to its response."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        structlog.contextvars.clear_contextvars()
        structlog.contextvars.bind_contextvars(request_id=uuid.uuid4().hex[:12])

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
                if scope["scheme"] == "https":
                    headers["Strict-Transport-Security"] = HTTPS_ONLY
                found = message["status"] in _FOUND
                if not scope["path"].startswith("/static/"):
                    headers.setdefault("Cache-Control", "no-store")
                elif found and b"v=" in scope["query_string"]:
                    headers["Cache-Control"] = _FOREVER
            await send(message)

        forgeable = not scope["path"].startswith("/api/")  # no cookie counts there, and tokens are not sent by accident
        if forgeable and sent_by_another_site(scope["method"], Headers(scope=scope)):
            refusal = PlainTextResponse("This request came from another site and was refused.", status_code=403)
            await refusal(scope, receive, send_with_headers)
            return
        await self.app(scope, receive, send_with_headers)
