"""The fields of a submission, with pictures of any length inside: a long data URI goes to the disk while it comes in.

What is left of the body is as small as any other, so no submission takes more memory than an event of the page. In the
place of the picture stands the name of its file, `upload:…`, which `local_file` finds.
"""

import re
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import ExitStack, asynccontextmanager
from urllib.parse import unquote_to_bytes

from starlette.requests import Request

from wan_core.api.bodies import parse_object, refuse_other_kinds
from wan_core.api.refusals import http_refusal
from wan_core.api.uploads import UploadFolder
from wan_core.errors import InputError
from wan_core.files import UPLOADED
from wan_core.intake import Base64File, reported_at
from wan_core.settings import Limits

HEAD = re.compile(rb'"data:[^",]{0,200};(?: |%20)*base64,', re.IGNORECASE)  # the label is not trusted, hence not read
HEAD_CHARS = 300  # at most
KEY = re.compile(rb'"(\w+)"\s*:\s*\Z')
KEY_CHARS = 100
ESCAPED = re.compile(rb"\\([/nrtf])")  # how JSON writers put slashes and line ends
UNFINISHED = re.compile(rb"(?:\\|%[0-9A-Fa-f]?)\Z")
MOST_PICTURES = 4


@asynccontextmanager
async def submission(
    request: Request, picture_fields: Sequence[str], folder: UploadFolder, limits: Limits
) -> AsyncIterator[dict[str, object]]:
    """The object in the body; the files of its pictures are there until the block ends.

    Raises:
        Refusal: 415 for another kind of body, 413 for one that is long without its pictures.
        InputError: for what is no JSON object, and for a picture that is no base64 or too large.
        BackendError: no room for the pictures.
    """
    refuse_other_kinds(request.headers)
    with ExitStack() as files:
        body = SplitBody(folder, files, limits, picture_fields)
        async for chunk in request.stream():
            await body.write(chunk)
        values = parse_object(body.finish())
        body.refuse_stray_pictures(values, picture_fields)
        yield values


class SplitBody:
    """A body that comes in by chunks, split into a short text and the files of its long pictures.

    `files` closes and removes them at its end.
    """

    def __init__(
        self, folder: UploadFolder, files: ExitStack, limits: Limits, picture_fields: Sequence[str] = ("image_url",)
    ) -> None:
        self._folder, self._files, self._limits = folder, files, limits
        self._fields, self._field = picture_fields, picture_fields[0]
        self._text = bytearray()
        self._pending = bytearray()  # what has come and is not judged yet
        self._picture: Base64File | None = None
        self._names: list[str] = []

    async def write(self, chunk: bytes) -> None:
        self._pending += chunk
        while await self._takes_more():
            pass

    def finish(self) -> bytes:
        """The text, once the body has ended. Raises Refusal."""
        self._keep(len(self._pending))
        return bytes(self._text)

    def refuse_stray_pictures(self, values: Mapping[str, object], picture_fields: Sequence[str]) -> None:
        """Raise InputError if a picture was cut out of anything but a picture's field."""
        placed = [values.get(field) for field in picture_fields]
        if any(UPLOADED + name not in placed for name in self._names):
            raise InputError("body", "json_invalid", "The body holds a picture outside of the fields for pictures.")

    async def _takes_more(self) -> bool:
        """Judge what is pending; false once more must come first."""
        if self._picture is not None:
            return self._write_picture(self._picture)
        if len(self._text) + len(self._pending) <= self._limits.max_page_body_bytes:
            return False  # a short body stays whole, its picture included
        head = HEAD.search(self._pending)
        if head is None:
            self._keep(len(self._pending) - HEAD_CHARS)
            return False
        length = head.end() - head.start()
        self._keep(head.start())
        del self._pending[:length]
        await self._begin_picture()
        return True

    def _keep(self, count: int) -> None:
        """Move the first `count` of the pending bytes to the text."""
        self._text += self._pending[:count]
        del self._pending[:count]
        if len(self._text) > self._limits.max_page_body_bytes:
            most = self._limits.max_page_body_bytes // 1000
            sentence = f"Without pictures written out as data URIs, a request may have {most} kB at most."
            raise http_refusal(413, sentence, "file_too_large")

    async def _begin_picture(self) -> None:
        if len(self._names) == MOST_PICTURES:
            raise InputError("body", "json_invalid", f"The body holds more than {MOST_PICTURES} pictures.")
        self._field = self._field_before()
        name = self._folder.new_name("")
        file = await self._folder.create(name)
        self._files.callback(self._folder.remove, name)
        self._picture = Base64File(self._files.enter_context(file), self._limits.max_upload_bytes)
        self._names.append(name)
        self._text += f'"{UPLOADED}{name}'.encode()

    def _field_before(self) -> str:
        """The picture's field, by the key that stands at the end of the text; the first if it is no picture's."""
        key = KEY.search(self._text[-KEY_CHARS:])
        name = key[1].decode() if key else ""
        return name if name in self._fields else self._fields[0]

    def _write_picture(self, picture: Base64File) -> bool:
        """Write what is pending of the picture; true once it has ended."""
        end = self._pending.find(b'"')
        text = bytes(self._pending if end < 0 else self._pending[:end])
        if end < 0:
            text = UNFINISHED.sub(b"", text)  # the rest of an escape has not come yet
        with reported_at(self._field):
            picture.write(_unescape(text))
            del self._pending[: len(text)]
            if end < 0:
                return False
            picture.finish()
        self._picture = None
        return True


def _unescape(text: bytes) -> bytes:
    """Base64 as a JSON writer or a URL may spell it: `\\/`, `\\n`, `%2B`."""
    text = ESCAPED.sub(lambda escape: b"/" if escape[1] == b"/" else b"", text)
    return unquote_to_bytes(text) if b"%" in text else text
