"""Pictures that clients send ahead of a request, and the files of this server by their addresses.

An upload is named by a fresh id and by what kind of picture it says it is; nothing of a name that a visitor chose is
used. How long they stay, `upload_room` decides. What is in them, only `intake` looks at.
"""

import re
import time
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import IO
from urllib.parse import unquote, urlsplit

from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import BaseRoute, Route

from wan_core.api.addressing import Links
from wan_core.api.bodies import json_object
from wan_core.api.conditions import drop_odd_range, is_known
from wan_core.api.handlers import MethodHandlers
from wan_core.api.keys import Keys, Passes, key_in_request
from wan_core.api.refusals import http_refusal, too_large
from wan_core.api.retention import upload_seconds
from wan_core.api.upload_room import UploadRoom, full
from wan_core.files import UPLOADED, FileStore, atomic_write, expiry_of, new_file_id
from wan_core.intake.formats import FORMATS
from wan_core.jobs.limits import client_of
from wan_core.settings import Settings

UUID = "[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
CLIP = re.compile(rf"({UUID})\.mp4")
SUFFIXES = {format.media_type: format.suffix for format in FORMATS} | {"image/jpg": "jpg", "image/heif": "heic"}
MEDIA_TYPES = {format.suffix: format.media_type for format in FORMATS} | {"bin": "application/octet-stream"}
UPLOAD = re.compile(rf"{UUID}(?:-[0-9]{{10,11}})?\.({'|'.join(MEDIA_TYPES)})")
PRIVATE = {"cache-control": "private, max-age=3600"}

TOKEN_S = 15 * 60


def local_file(data: FileStore) -> Callable[[str], Path | None]:
    """Maps an address of an upload or a clip to its file, by its id alone, whatever this server is called.

    One that came inside of a request or through the page has no address but `upload:` and its name.
    """

    def find(url: str) -> Path | None:
        if url.startswith(UPLOADED):
            return named_file(data, url.removeprefix(UPLOADED))
        try:
            parts = urlsplit(url)
        except ValueError:
            return None
        folder, _, name = unquote(parts.path).rpartition("/")
        if parts.scheme not in ("http", "https") or folder.rpartition("/")[2] != "files":
            return None
        return named_file(data, name)

    return find


def named_file(data: FileStore, name: str) -> Path | None:
    """The clip or upload called `name`, if that is a name of ours and the file is there and not to be gone."""
    until = expiry_of(name)
    if until is not None and until <= time.time():
        return None
    if clip := CLIP.fullmatch(name):
        path = data.clip(clip[1])
    elif UPLOAD.fullmatch(name):
        path = data.uploads / name
    else:
        return None
    return path if path.is_file() else None


class UploadFolder:
    """Where uploads of the HTTP API lie, within the `room` of all uploads."""

    def __init__(self, folder: Path, room: UploadRoom) -> None:
        self._folder = folder
        self._room = room

    def new_name(self, content_type: str, keep_s: float | None = None) -> str:
        """`keep_s`: the file is to be gone so many seconds from now."""
        kind = content_type.partition(";")[0].strip().lower()
        file_id = new_file_id(None if keep_s is None else time.time() + keep_s)
        return f"{file_id}.{SUFFIXES.get(kind, 'bin')}"

    async def write(self, name: str, content: AsyncIterator[bytes], size: int, client: str = "") -> None:
        """Keep `content`, of `size` bytes at most, as `name`, whole or not at all. Raises BackendError without room."""
        async with self._room.hold(size, client):
            try:
                with atomic_write(self._folder / name) as part, part.open("xb") as file:
                    async for chunk in content:
                        file.write(chunk)
            except OSError as error:
                raise full() from error

    async def create(self, name: str) -> IO[bytes]:
        """A new file called `name`, unbuffered, which is soon removed. Raises BackendError without room."""
        async with self._room.hold(0):
            try:
                return (self._folder / name).open("xb", buffering=0)
            except OSError as error:
                raise full() from error

    def remove(self, name: str) -> None:
        (self._folder / name).unlink(missing_ok=True)


class Uploads:
    """The routes of fal's storage, as both of its clients use them, and those of our own files."""

    def __init__(self, settings: Settings, keys: Keys, room: UploadRoom) -> None:
        self.folder = UploadFolder(settings.files.uploads, room)
        self._settings = settings
        self._keys = keys
        self._passes = Passes()

    def rest_routes(self) -> list[BaseRoute]:
        return [
            Route("/storage/auth/token", MethodHandlers(POST=self.token)),
            Route("/storage/upload/initiate", MethodHandlers(POST=self.initiate)),
            Route("/storage/upload/initiate-multipart", MethodHandlers(POST=self.refuse_multipart)),
        ]

    def cdn_routes(self) -> list[BaseRoute]:
        return [
            Route("/files/upload", MethodHandlers(POST=self.upload)),
            Route("/files/upload/multipart", MethodHandlers(POST=self.refuse_multipart)),
            Route("/files/{name}", MethodHandlers(GET=self.file, PUT=self.put)),
        ]

    def file_routes(self) -> list[BaseRoute]:
        return [Route("/{name}", MethodHandlers(GET=self.clip))]

    async def token(self, request: Request) -> Response:
        """Python's client asks once for a token, then posts files with it."""
        self._keys.check(request)
        until = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=TOKEN_S)
        return JSONResponse(
            {
                "token": self._passes.issue("upload", TOKEN_S),
                "token_type": "Bearer",
                "base_url": self._links(request).origin + "/cdn",
                "expires_at": until.isoformat(),
            }
        )

    async def upload(self, request: Request) -> Response:
        if not self._passes.allows("upload", key_in_request(request)):
            self._keys.check(request)
        name = self.folder.new_name(request.headers.get("content-type", ""), self._keep_s(request))
        return await self._keep(name, request)

    async def initiate(self, request: Request) -> Response:
        """JavaScript's client asks where to put a file, then puts it there without its key."""
        self._keys.check(request)
        content_type = str((await json_object(request)).get("content_type", ""))
        name = self.folder.new_name(content_type, self._keep_s(request))
        url = self._links(request).upload(name)
        return JSONResponse({"upload_url": f"{url}?pass={self._passes.issue(name, TOKEN_S)}", "file_url": url})

    async def put(self, request: Request) -> Response:
        name = request.path_params["name"]
        if not self._passes.allows(name, request.query_params.get("pass", "")):
            raise http_refusal(403, "This address takes no file, or not any more. Ask for a new one.", "forbidden")
        return await self._keep(name, request)

    async def refuse_multipart(self, request: Request) -> Response:
        """Only files that are too large anyway come in parts."""
        self._keys.check(request)
        raise too_large(self._settings.limits.max_upload_bytes)

    async def file(self, request: Request) -> Response:
        return self._serve_file(request.path_params["name"], request)

    async def clip(self, request: Request) -> Response:
        name = request.path_params["name"]
        return self._serve_file(name if CLIP.fullmatch(name) else "", request)

    async def _keep(self, name: str, request: Request) -> Response:
        length, peer = request.headers.get("content-length", ""), request.client
        size = int(length) if length.isdecimal() and len(length) < 20 else self._settings.limits.max_upload_bytes
        client = client_of(request.headers, peer.host if peer else None, self._settings)
        await self.folder.write(name, request.stream(), size, client.id)
        return JSONResponse({"access_url": self._links(request).upload(name)})

    def _keep_s(self, request: Request) -> float | None:
        """Only what is shorter than this server's own time is written into a name."""
        seconds = upload_seconds(request.headers)
        return None if seconds is None or seconds >= self._settings.limits.keep_results_s else seconds

    def _serve_file(self, name: str, request: Request) -> Response:
        path = named_file(self._settings.files, name)
        if path is None:
            raise http_refusal(404, "No such file. Files are kept for a day.", "file_not_found")
        media_type = MEDIA_TYPES.get(path.suffix[1:], "video/mp4")
        whole = FileResponse(path, media_type=media_type, headers=PRIVATE, stat_result=path.stat())
        if is_known(request.headers, whole.headers):
            kept = {name: whole.headers[name] for name in ("etag", "last-modified", "cache-control")}
            return Response(status_code=304, headers=kept)
        drop_odd_range(request.scope)
        return whole

    def _links(self, request: Request) -> Links:
        return Links.of(request, self._settings)
