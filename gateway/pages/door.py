"""Who may see which page: the login, its rights, forms of our own only, and the headers that hold a browser to it."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from urllib.parse import quote, urlsplit

from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response

from gateway.office import Office
from gateway.pages.forms import read_form
from gateway.pages.problems import PageError
from gateway.pages.rendering import Renderer
from gateway.pages.sessions import LASTS, LEAST_KEY, Session, Sessions, build_sessions, cookie_name
from gateway.tokens import Scope
from incident.errors import NotOpenError, PermanentError, RefusedError, TransientError

LOGIN = "/ui/login"
FORM_TOKEN = "form_token"  # noqa: S105 - a field's name
_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "Cache-Control": "no-store",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    # Not `no-referrer`: a browser would then send forms with the origin `null`, and ours could not be told from others.
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
_CLOSED = (
    f"The setting GATEWAY__SESSION_KEY must hold at least {LEAST_KEY} bytes, the same in every gateway, "
    "so that logins can be signed. The command line works without it."
)

Endpoint = Callable[[Request], Awaitable[Response]]


@dataclass(frozen=True)
class Visit:
    """A request of somebody who is logged in."""

    request: Request
    session: Session
    form_token: str
    form: Mapping[str, str]
    """What was sent with it; empty: nothing."""

    @property
    def incident_id(self) -> str:
        """The incident in the address."""
        return str(self.request.path_params["incident_id"])


class Door:
    """Lets people in.

    Args:
        office: its settings say how logins are signed.
        renderer: shows what is in the way.
    """

    def __init__(self, office: Office, renderer: Renderer) -> None:
        settings = office.settings
        self._sessions = build_sessions(settings.gateway.session_key, office.tokens, office.clock)
        self._secure = settings.gateway.secure_cookies
        self._own_host = urlsplit(settings.public_url).netloc.lower()
        self._renderer = renderer
        self._cookie = cookie_name(secure=self._secure)

    @property
    def sessions(self) -> Sessions:
        """Begins logins.

        Raises:
            PageError: there is no key to sign them with.
        """
        if self._sessions is None:
            raise PageError(503, "The pages are closed", _CLOSED)
        return self._sessions

    def anyone(self, show: Endpoint) -> Endpoint:
        """`show`, for whoever asks; a form is taken only from a page of ours."""

        async def endpoint(request: Request) -> Response:
            if request.method == "POST":
                self._check_origin(request)
            return await show(request)

        return self._kept(endpoint)

    def readers(self, show: Callable[[Visit], Awaitable[Response]]) -> Endpoint:
        """`show`, for whoever is logged in."""

        async def endpoint(request: Request) -> Response:
            session = self.session(request)
            if session is None:
                return self._to_login(request)
            return await show(Visit(request, session, self.sessions.form_token(session), {}))

        return self._kept(endpoint)

    def senders(self, scope: Scope, take: Callable[[Visit], Awaitable[Response]]) -> Endpoint:
        """`take`, for a form of ours that somebody with `scope` sends."""

        async def endpoint(request: Request) -> Response:
            self._check_origin(request)
            session = self.session(request)
            if session is None:
                raise PageError(401, "Not logged in", "The login is over. Log in, and send it again.")
            form = await read_form(request)
            if not self.sessions.is_form_token(session, form.get(FORM_TOKEN, "")):
                raise PageError(403, "Not sent from here", "The form is not one of this login.")
            need(session, scope)
            return await take(Visit(request, session, self.sessions.form_token(session), form))

        return self._kept(endpoint)

    def session(self, request: Request) -> Session | None:
        """The login of `request`; `None`: there is none that holds.

        Raises:
            PageError: there is no key to tell.
        """
        session = self.sessions.read(request.cookies.get(self._cookie, ""))
        return session if session and session.may(Scope.READ) else None

    def let_in(self, response: Response, cookie: str) -> None:
        """Gives the browser the cookie of a login."""
        response.set_cookie(
            self._cookie,
            cookie,
            max_age=int(LASTS.total_seconds()),
            path="/",
            secure=self._secure,
            httponly=True,
            samesite="strict",
        )

    def let_out(self, response: Response) -> None:
        """Takes the cookie back."""
        response.delete_cookie(self._cookie, path="/", secure=self._secure, httponly=True, samesite="strict")

    def _check_origin(self, request: Request) -> None:
        """Refuses a form of another site. A browser says where a form stood, and a page cannot change what it says."""
        site, origin = request.headers.get("sec-fetch-site"), request.headers.get("origin")
        ours = {each for each in (request.headers.get("host", "").lower(), self._own_host) if each}
        told = {site == "same-origin"} if site is not None else set()
        if origin is not None:
            told.add(_host(origin) in ours)
        if told != {True}:
            raise PageError(403, "Not sent from here", "The form was not sent by one of these pages.")

    def _to_login(self, request: Request) -> Response:
        if "text/html" not in request.headers.get("accept", ""):
            return PlainTextResponse("not logged in", 401)
        asked = request.url.path + (f"?{request.url.query}" if request.url.query else "")
        if request.headers.get("sec-fetch-site") == "cross-site":
            # A link elsewhere, such as in a chat: the strict cookie came not along, but it will from a page of ours.
            return self._renderer.page("onward.html", asked=asked)
        return RedirectResponse(f"{LOGIN}?next={quote(asked, safe='/')}", 303)

    def _kept(self, endpoint: Endpoint) -> Endpoint:
        """`endpoint` with what goes wrong shown as a page, and with the headers that every answer has."""

        async def kept(request: Request) -> Response:
            try:
                response = await endpoint(request)
            except PageError as error:
                response = self._problem(request, error)
            except NotOpenError:
                response = self._problem(request, PageError(409, "Too late", "The incident has closed meanwhile."))
            except RefusedError as error:
                response = self._problem(request, PageError(409, "Not taken", error.problem))
            except TransientError as error:
                unknown = PageError(503, "Not known at the moment", f"{error}. Try again.")
                response = self._problem(request, unknown)
                response.headers["Retry-After"] = "5"
            except PermanentError as error:
                response = self._problem(request, PageError(502, "Cannot be shown", str(error)))
            for name, value in _HEADERS.items():
                response.headers.setdefault(name, value)
            return response

        return kept

    def _problem(self, request: Request, error: PageError) -> Response:
        session = self._sessions.read(request.cookies.get(self._cookie, "")) if self._sessions else None
        token = self._sessions.form_token(session) if self._sessions and session else ""
        return self._renderer.page("problem.html", error.status, problem=error, session=session, form_token=token)


def _host(origin: str) -> str:
    try:
        return urlsplit(origin).netloc.lower()
    except ValueError:
        return ""


def need(session: Session, scope: Scope) -> None:
    """Returns where the login has `scope`.

    Raises:
        PageError: it has not.
    """
    if not session.may(scope):
        raise PageError(403, "Not allowed", f"{session.caller.name}'s token has not the scope {scope}.")
