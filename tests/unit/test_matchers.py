import pytest

from incident.matchers import Matcher, narrowing, parse_matcher, parse_selector, selector


@pytest.mark.parametrize(
    ("text", "matcher"),
    [
        ('app="payment-api"', Matcher("app", "=", "payment-api")),
        (' level !~ "debug|trace" ', Matcher("level", "!~", "debug|trace")),
        (r'path=~"\\d+\"x\"\n"', Matcher("path", "=~", '\\d+"x"\n')),
        ('team=""', Matcher("team", "=", "")),
        ('a="b,c}"', Matcher("a", "=", "b,c}")),
    ],
    ids=["plain", "spaces", "escapes", "empty", "marks"],
)
def test_a_matcher_is_read_and_written_as_the_systems_read_it(text: str, matcher: Matcher) -> None:
    assert parse_matcher(text) == matcher
    assert parse_matcher(str(matcher)) == matcher


def test_no_value_can_end_its_quotes() -> None:
    hostile = 'x"} |= "secret\\\n'
    assert str(Matcher("app", "=", hostile)) == r'app="x\"} |= \"secret\\\n"'
    assert parse_selector(selector((Matcher("app", "=", hostile),))) == (Matcher("app", "=", hostile),)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "app",
        "app=payment",
        "app='x'",
        "app=`x`",
        'app=="x"',
        '9app="x"',
        'app="x',
        'app="x\n"',
        r'app="\d"',
        'app="x" or vector(1)',
        'a="x",b="y"',
    ],
)
def test_what_is_no_single_matcher_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="expected a matcher"):
        parse_matcher(text)


@pytest.mark.parametrize(
    "text", ["", "{}", 'app="x"', '{app="x"} |= "y"', '{app="x"', '{app="x",}', '{app="x" level="y"}', '{{app="x"}}']
)
def test_what_is_no_selector_alone_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="expected a"):
        parse_selector(text)


@pytest.mark.parametrize(
    "text",
    [
        '{app=""}',
        '{app!="x"}',
        '{app=~".*"}',
        '{app=~"^.*$"}',
        '{app=~"a|"}',
        '{app=~"(a?)"}',
        '{app!=""}',
        '{app!~"x"}',
        '{app=~""}',
    ],
)
def test_a_selector_of_everything_there_is_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="everything there is"):
        narrowing(parse_selector(text))


@pytest.mark.parametrize("text", ['{app!="x", job=~"pay.*"}', '{job=~".+"}', '{job=~"(?P<a>x)"}', '{job=~"(x"}'])
def test_one_matcher_that_narrows_is_enough(text: str) -> None:
    narrowing(parse_selector(text))
