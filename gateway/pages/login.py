"""In with a token, out again."""

import re

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from gateway.pages.door import Door, Visit
from gateway.pages.forms import read_form
from gateway.pages.rendering import Renderer

HOME = "/ui/"
_PAGE_OF_OURS = re.compile(r"/ui/[A-Za-z0-9._~%?&=+:,/-]{0,1000}")
_MAX_TOKEN = 256


class Login:
    """The page that takes a token."""

    def __init__(self, door: Door, renderer: Renderer) -> None:
        self._door = door
        self._renderer = renderer

    async def show(self, request: Request) -> Response:
        """The form; whoever is logged in goes on."""
        onward = _onward(request.query_params.get("next", ""))
        if self._door.session(request):
            return RedirectResponse(onward, 303)
        return self._page(onward, wrong=False)

    async def enter(self, request: Request) -> Response:
        """Takes a token; where to go on is a page of ours, whatever the form says."""
        form = await read_form(request)
        onward = _onward(form.get("next", ""))
        cookie = self._door.sessions.begin(form.get("token", "").strip()[:_MAX_TOKEN])
        if cookie is None:
            return self._page(onward, wrong=True)
        response = RedirectResponse(onward, 303)
        self._door.let_in(response, cookie)
        return response

    async def leave(self, visit: Visit) -> Response:
        """Out."""
        del visit
        response = RedirectResponse("/ui/login", 303)
        self._door.let_out(response)
        return response

    def _page(self, onward: str, *, wrong: bool) -> Response:
        return self._renderer.page("login.html", 401 if wrong else 200, next=onward, wrong=wrong, session=None)


def _onward(asked: str) -> str:
    """`asked` where it is a page of ours, else the first one."""
    return asked if _PAGE_OF_OURS.fullmatch(asked) and "//" not in asked else HOME
