"""The style sheet, the script and the icon: read once, asked for again only when they have changed."""

import hashlib
from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response

from gateway.pages.door import Endpoint
from gateway.pages.problems import PageError

_FOLDER = Path(__file__).with_name("static")
_TYPES = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}


def statics() -> Endpoint:
    """Gives the file of the name in the address."""
    files = {each.name: (each.read_bytes(), _TYPES[each.suffix]) for each in _FOLDER.iterdir()}

    async def give(request: Request) -> Response:
        found = files.get(request.path_params["name"])
        if found is None:
            raise PageError(404, "Not found", "There is no such file.")
        content, kind = found
        mark = f'"{hashlib.sha256(content).hexdigest()[:32]}"'
        headers = {"ETag": mark, "Cache-Control": "no-cache"}
        if request.headers.get("if-none-match") == mark:
            return Response(status_code=304, headers=headers)
        return Response(content, media_type=kind, headers=headers)

    return give
