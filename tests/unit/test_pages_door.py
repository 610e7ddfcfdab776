"""Who may see the pages and send their forms, and what every answer carries."""

from collections.abc import Mapping

import httpx
import pytest

from incident.errors import NotOpenError, PermanentError, TransientError
from tests import builders
from tests.e2e.pages_office import HERE, Desktop, asking_dossier, form_token

INCIDENT = f"/ui/incidents/{builders.INCIDENT_ID}"
PAGES = (
    "/ui/",
    "/ui/figures",
    INCIDENT,
    f"{INCIDENT}/snapshot.json",
    f"{INCIDENT}/plots/error_rate.svg",
    f"{INCIDENT}/events",
    f"{INCIDENT}/answer",
    f"{INCIDENT}/cancel",
)
FORMS = ("/ui/logout", f"{INCIDENT}/answer", f"{INCIDENT}/cancel")


def desktop() -> Desktop:
    return Desktop(dossiers=[asking_dossier()])


@pytest.mark.parametrize("page", PAGES)
async def test_every_page_leads_to_the_login_and_back(page: str) -> None:
    async with desktop().visitor() as nobody:
        sent = await nobody.get(page)
        assert (sent.status_code, sent.headers["location"]) == (303, f"/ui/login?next={page}")
        assert f'name="next" value="{page}"' in (await nobody.get(sent.headers["location"])).text


@pytest.mark.parametrize("page", PAGES)
async def test_what_is_no_page_gets_no_redirect_that_it_would_take_for_content(page: str) -> None:
    async with desktop().visitor() as nobody:
        assert (await nobody.get(page, headers={"Accept": "image/*"})).status_code == 401


@pytest.mark.parametrize("form", FORMS)
async def test_no_form_is_taken_without_a_login(form: str) -> None:
    ours = desktop()
    async with ours.visitor() as nobody:
        assert (await nobody.post(form, data={"form_token": "0" * 64})).status_code == 401
    assert not ours.desk.answers
    assert not ours.desk.cancellations


async def test_the_token_leads_in_and_to_the_page_that_was_asked_for() -> None:
    ours = desktop()
    async with ours.visitor() as visitor:
        entered = await visitor.post("/ui/login", data={"token": f" {ours.tokens['ada']}\n", "next": INCIDENT})
        assert (entered.status_code, entered.headers["location"]) == (303, INCIDENT)
        assert (await visitor.get(INCIDENT)).status_code == 200
        assert (await visitor.get("/ui/login")).status_code == 303


@pytest.mark.parametrize(
    "elsewhere",
    ["//evil.example/ui/", "https://evil.example/", "/ui//evil.example", "/ui/\\evil", "/uix", "/ui/\r\nX: y", ""],
)
async def test_a_login_never_leads_elsewhere(elsewhere: str) -> None:
    ours = desktop()
    async with ours.visitor() as visitor:
        entered = await visitor.post("/ui/login", data={"token": ours.tokens["ada"], "next": elsewhere})
        assert entered.headers["location"] == "/ui/"
        asked = await visitor.get("/ui/login", params={"next": elsewhere})
        assert asked.headers["location"] == "/ui/"


@pytest.mark.parametrize("token", ["", "ict_wrong", "x" * 10_000])
async def test_a_wrong_token_is_told_so_and_nothing_of_it_comes_back(token: str) -> None:
    async with desktop().visitor() as visitor:
        refused = await visitor.post("/ui/login", data={"token": token})
        assert refused.status_code == 401
        assert "set-cookie" not in refused.headers
        assert not token or token not in refused.text


async def test_a_token_that_may_not_read_opens_no_page() -> None:
    ours = desktop()
    async with ours.visitor() as visitor:
        assert (await visitor.post("/ui/login", data={"token": ours.tokens["cleo"]})).status_code == 401


async def test_the_cookie_is_out_of_reach_of_scripts_and_other_sites() -> None:
    ours = desktop()
    async with ours.visitor() as visitor:
        cookie = (await visitor.post("/ui/login", data={"token": ours.tokens["ada"]})).headers["set-cookie"]
    assert {"HttpOnly", "SameSite=strict", "Path=/"} <= set(cookie.split("; "))
    assert "Secure" not in cookie


async def test_over_https_the_cookie_is_bound_to_it_and_to_this_host() -> None:
    ours = Desktop(secure_cookies=True)
    async with ours.visitor() as visitor:
        cookie = (await visitor.post("/ui/login", data={"token": ours.tokens["ada"]})).headers["set-cookie"]
    assert cookie.startswith("__Host-")
    assert "Secure" in cookie.split("; ")
    assert "domain" not in cookie.lower()


async def test_logging_out_takes_the_cookie_back() -> None:
    async with desktop().visitor("ada") as ada:
        page = (await ada.get("/ui/")).text
        left = await ada.post("/ui/logout", data={"form_token": form_token(page)})
        assert (left.status_code, left.headers["location"]) == (303, "/ui/login")
        assert (await ada.get("/ui/")).status_code == 303


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("token", ["", "0" * 64, None])
async def test_a_form_without_the_logins_own_token_is_refused(form: str, token: str | None) -> None:
    ours = desktop()
    async with ours.visitor("ada") as ada:
        data = {"answer": "approve", "digest": builders.proposal().digest}
        sent = await ada.post(form, data=data if token is None else {**data, "form_token": token})
        assert sent.status_code == 403
    assert not ours.desk.answers
    assert not ours.desk.cancellations


async def test_the_form_token_of_another_login_is_refused() -> None:
    ours = desktop()
    async with ours.visitor("ada") as ada, ours.visitor("ada") as elsewhere:
        other = form_token((await elsewhere.get("/ui/")).text)
        sent = await ada.post(f"{INCIDENT}/cancel", data={"form_token": other})
        assert sent.status_code == 403
    assert not ours.desk.cancellations


ORIGINS: Mapping[str, Mapping[str, str]] = {
    "another host": {"Origin": "https://evil.example"},
    "no host": {"Origin": "null"},
    "unreadable": {"Origin": "http://[", "Sec-Fetch-Site": "same-origin"},
    "another site": {"Sec-Fetch-Site": "cross-site"},
    "the same domain only": {"Sec-Fetch-Site": "same-site", "Origin": HERE},
    "typed": {"Sec-Fetch-Site": "none", "Origin": HERE},
    "another host that calls itself ours": {"Origin": "https://evil.example", "Sec-Fetch-Site": "same-origin"},
    "not said": {},
}


@pytest.mark.parametrize("origin", ORIGINS.values(), ids=ORIGINS)
@pytest.mark.parametrize("form", ["/ui/login", *FORMS])
async def test_a_form_of_another_site_is_refused_whatever_it_holds(form: str, origin: Mapping[str, str]) -> None:
    ours = desktop()
    async with ours.visitor("ada") as ada:
        token = form_token((await ada.get("/ui/")).text)
        for name in ("Origin", "Sec-Fetch-Site"):
            del ada.headers[name]
        data = {"form_token": token, "token": ours.tokens["ada"], "answer": "approve", "digest": "d" * 64}
        assert (await ada.post(form, data=data, headers=origin)).status_code == 403
    assert not ours.desk.answers
    assert not ours.desk.cancellations


@pytest.mark.parametrize(
    "origin", [{"Origin": HERE}, {"Sec-Fetch-Site": "same-origin"}, {"Origin": "https://ic.example"}]
)
async def test_a_form_of_ours_is_taken_from_an_old_browser_and_behind_a_proxy(origin: Mapping[str, str]) -> None:
    ours = Desktop(public_url="https://ic.example/")
    async with ours.visitor() as visitor:
        for name in ("Origin", "Sec-Fetch-Site"):
            del visitor.headers[name]
        entered = await visitor.post("/ui/login", data={"token": ours.tokens["ada"]}, headers=origin)
        assert entered.status_code == 303


async def test_a_link_in_a_chat_leads_whoever_is_logged_in_to_the_page() -> None:
    cross = {"Sec-Fetch-Site": "cross-site"}
    async with desktop().visitor() as visitor:  # the strict cookie does not come along
        page = await visitor.get(INCIDENT, params={"said": '"><script>'}, headers=cross)
    assert page.status_code == 200
    assert f'content="0; url={INCIDENT}?said=' in page.text
    assert "<script" not in page.text


@pytest.mark.parametrize("page", [*PAGES, "/ui/login"])
@pytest.mark.parametrize("key", [None, "", "k" * 31])
async def test_without_a_key_the_pages_are_closed_and_say_why(page: str, key: str | None) -> None:
    async with Desktop(session_key=key).visitor() as visitor:
        closed = await visitor.get(page)
        assert closed.status_code == 503
        assert "GATEWAY__SESSION_KEY" in closed.text


@pytest.mark.parametrize("page", ["/ui/", "/ui/login", "/ui/static/pages.css", "/ui/incidents/nonsense", INCIDENT])
async def test_every_answer_holds_the_browser_to_this_host(page: str) -> None:
    async with desktop().visitor("ada") as ada:
        headers = (await ada.get(page)).headers
    policy = headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert {"form-action 'self'", "base-uri 'none'", "frame-ancestors 'none'"} <= set(policy.split("; "))
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "same-origin"
    assert headers["cache-control"] in {"no-store", "no-cache"}


async def test_a_form_token_is_never_cached() -> None:
    async with desktop().visitor("ada") as ada:
        assert (await ada.get(INCIDENT)).headers["cache-control"] == "no-store"


@pytest.mark.parametrize(
    ("content", "kind", "status"),
    [
        (b"{}", "application/json", 415),
        (b"a=" + b"x" * 20_000, "application/x-www-form-urlencoded", 413),
        (b"a=1&a=2", "application/x-www-form-urlencoded", 422),
        (b"a=%ff", "application/x-www-form-urlencoded", 422),
        ("a=ä".encode(), "application/x-www-form-urlencoded", 422),
        (b"&".join(b"%d=" % n for n in range(100)), "application/x-www-form-urlencoded", 422),
    ],
)
async def test_what_is_no_form_is_refused(content: bytes, kind: str, status: int) -> None:
    async with desktop().visitor("ada") as ada:
        for form in ("/ui/login", f"{INCIDENT}/cancel"):
            sent = await ada.post(form, content=content, headers={"Content-Type": kind})
            assert sent.status_code == status


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (TransientError("temporal", "does not answer"), 503),
        (NotOpenError("incident", "is not open"), 409),
        (PermanentError("store", "cannot be read"), 502),
    ],
)
async def test_what_goes_wrong_outside_is_a_page_that_says_so(error: Exception, status: int) -> None:
    ours = desktop()
    async with ours.visitor("ada") as ada:
        ours.store.errors["load"] = error
        ours.desk.away = error if isinstance(error, TransientError) else None
        shown = await ada.get(INCIDENT)
    assert shown.status_code == status
    assert "<h1>" in shown.text


async def test_files_are_asked_for_again_only_when_they_changed() -> None:
    async with desktop().visitor() as visitor:
        sheet = await visitor.get("/ui/static/pages.css")
        assert sheet.headers["content-type"].startswith("text/css")
        again = await visitor.get("/ui/static/pages.css", headers={"If-None-Match": sheet.headers["etag"]})
        assert (again.status_code, again.content) == (304, b"")


@pytest.mark.parametrize("name", ["nothing.css", "..%2f__init__.py", "%2e%2e/router.py", "pages.css%00"])
async def test_no_other_file_can_be_had(name: str) -> None:
    async with desktop().visitor() as visitor:
        assert (await visitor.get(f"/ui/static/{name}")).status_code == httpx.codes.NOT_FOUND
