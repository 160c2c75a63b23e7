"""The finished clips of the examples: their route, and the one that fills the empty right column.

`python -m examples.make_clips` makes the files. `examples.js` plays them.
"""

from html import escape

from starlette.requests import Request
from starlette.responses import FileResponse, PlainTextResponse, Response
from starlette.routing import Route

from wan_core.ui.examples import EXAMPLES, clip_of
from wan_core.ui.languages import translate

KNOWN = {example.clip.name: example.clip for example in EXAMPLES if example.clip is not None}
SHOWN = EXAMPLES[0]
ON_LOAD = "wanExamples.playShown(element);"
CACHED = {"Cache-Control": "public, max-age=3600"}


async def serve(request: Request) -> Response:
    path = KNOWN.get(request.path_params["name"])
    if path is None or not path.is_file():
        return PlainTextResponse("There is no such example.", status_code=404)
    return FileResponse(path, media_type="video/mp4", headers=CACHED)


ROUTES = [Route("/examples/{name}", serve)]


def shown_while_empty() -> str:
    return (
        f'<div class="stage empty"><figure>{clip_of(SHOWN)}<figcaption>{translate("Your clip appears here.")} '
        f"{escape(translate('This one: {clip}.', clip=SHOWN.clip_words))}</figcaption></figure></div>"
    )
