"""Where a request wants to go and which addresses it is answered with.

fal's clients tell `run` from `queue` by host name alone; here it may be the host, a proxied target or a path prefix.
All of them become one path with a prefix. Nothing is ever fetched from an address found here.
"""

import re
from dataclasses import dataclass
from typing import Self
from urllib.parse import unquote, urlsplit

from starlette.datastructures import Headers
from starlette.requests import HTTPConnection

from wan_core.endpoints import ENDPOINTS
from wan_core.events import Job
from wan_core.settings import LOOPBACK, Settings

PREFIX_BY_HOST = {"fal.run": "/run", "queue.fal.run": "/queue", "rest.fal.ai": "/rest", "v3.fal.media": "/cdn"}
PREFIXES = ("/run/", "/queue/", "/rest/", "/cdn/", "/files/", "/jobs/", "/api/fal/", "/api/openapi/")
PROXY_PATH = "/api/fal/proxy"

_HOST = re.compile(r"([A-Za-z0-9.-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\])(:[0-9]{1,5})?")
_ENDPOINT = re.compile("|".join(map(re.escape, sorted(ENDPOINTS, key=len, reverse=True))), re.IGNORECASE)


@dataclass(frozen=True)
class Target:
    """A path of this server; `query` is `None` where the request's own stays."""

    path: str
    query: str | None = None


def parse_target(path: str, headers: Headers) -> Target:
    """The path that is meant, in its one spelling.

    Raises:
        ValueError: the proxied target is none of fal's hosts.
    """
    if (url := headers.get("x-fal-target-url")) is not None:
        target = urlsplit(url)
        prefix = PREFIX_BY_HOST.get(target.hostname or "")
        if prefix is None or target.scheme not in ("http", "https"):
            raise ValueError("not one of fal's hosts")
        path = unquote(target.path)  # some clients keep the prefix that our own addresses have
        return Target(normalize_path(path if path.startswith(f"{prefix}/") else prefix + path), target.query)
    host = host_name(requested_host(headers))
    if host in PREFIX_BY_HOST and (host == "v3.fal.media" or not path.startswith(PREFIXES)):
        path = PREFIX_BY_HOST[host] + path.removeprefix("/cdn")
    return Target(normalize_path(path) if path.startswith(PREFIXES) else path)


def normalize_path(path: str) -> str:
    """The same path as the routes spell it: no slash or `/response` at its end, a job's address at the app."""
    path = path.replace("\n", " ")  # which no route would match, not even the one for what is not there
    path = _ENDPOINT.sub(lambda found: found[0].lower(), path.rstrip("/"))
    if f"{path}/" in PREFIXES:
        return f"{path}/"
    if "/requests/" in path:
        for endpoint in ENDPOINTS.values():  # status, result and cancel are asked for at the app
            path = path.replace(f"/{endpoint.id}/requests/", f"/{endpoint.app}/requests/", 1)
        path = path.removesuffix("/response")
    return path


def requested_host(headers: Headers) -> str:
    """The host that the caller typed, as far as the proxies on the way say so; empty if it is no host."""
    host = headers.get("x-forwarded-host", headers.get("host", "")).split(",")[0].strip()
    return host if _HOST.fullmatch(host) else ""


def host_name(host: str) -> str:
    """`host` without its port, in small letters."""
    return re.sub(r":[0-9]+$", "", host).strip("[]").lower()


def is_local(headers: Headers) -> bool:
    """Whether the caller typed a name of this machine, or one of fal's: what a visitor from outside never does.

    A browser cannot lie about `Host`, so no page of a stranger passes either, wherever its name points.
    """
    return all(host_name(host) in (*LOOPBACK, *PREFIX_BY_HOST) for host in named_hosts(headers))


def named_hosts(headers: Headers) -> list[str]:
    """Every host that the request names; an empty one where it names none."""
    return [*(headers.getlist("host") or [""]), *headers.getlist("x-forwarded-host")]


@dataclass(frozen=True)
class Links:
    """Absolute addresses for an answer. `origin` has no slash at its end."""

    origin: str
    queue: str

    @classmethod
    def of(cls, request: HTTPConnection, settings: Settings) -> Self:
        """As the host set them, else as the Space is called, else as the caller typed them."""
        configured = settings.public_url or (f"https://{settings.space_host}" if settings.space_host else "")
        if configured:
            origin = configured.rstrip("/")
            return cls(origin, f"{origin}/queue")
        host = requested_host(request.headers) or _own_address(request)
        origin = f"{_scheme(request, host_name(host))}://{host}"
        return cls(origin, origin if host_name(host) == "queue.fal.run" else f"{origin}/queue")

    def of_job(self, job: Job) -> dict[str, str]:
        """The three addresses that fal's Python client follows."""
        result = f"{self.queue}/{ENDPOINTS[job.endpoint].app}/requests/{job.id}"
        return {"response_url": result, "status_url": f"{result}/status", "cancel_url": f"{result}/cancel"}

    def clip(self, job_id: str) -> str:
        return f"{self.origin}/files/{job_id}.mp4"

    def upload(self, name: str) -> str:
        return f"{self.origin}/cdn/files/{name}"


def _scheme(request: HTTPConnection, host: str) -> str:
    if host in PREFIX_BY_HOST:
        return "https"  # fal's clients ask for these names in no other way
    said = request.headers.get("x-forwarded-proto", "").split(",")[0].strip().lower()
    return said if said in ("http", "https") else request.url.scheme


def _own_address(request: HTTPConnection) -> str:
    host, port = request.scope.get("server") or ("localhost", None)
    return f"{host}:{port}" if port else str(host)
