from datetime import timedelta

from incident.errors import (
    AnalystUnusableError,
    ConfigurationError,
    PermanentError,
    TransientError,
    UnknownServiceError,
)


def test_an_error_names_the_system_and_the_problem() -> None:
    error = TransientError("prometheus", "timed out", retry_after=timedelta(seconds=3))
    assert (str(error), error.system, error.problem) == ("prometheus: timed out", "prometheus", "timed out")
    assert error.retry_after == timedelta(seconds=3)
    assert TransientError("prometheus", "timed out").retry_after is None


def test_what_is_worth_another_try_is_never_permanent() -> None:
    assert not issubclass(TransientError, PermanentError)
    assert not issubclass(PermanentError, TransientError)
    assert issubclass(AnalystUnusableError, PermanentError)
    assert issubclass(UnknownServiceError, PermanentError)


def test_an_unknown_service_is_told_with_what_is_known() -> None:
    assert str(UnknownServiceError("production", "a", ())).endswith("known: none")
    assert str(UnknownServiceError("production", "a", ("b (production)", "c (staging)"))) == (
        "services.toml: no service 'a' in environment 'production'; known: b (production), c (staging)"
    )


def test_a_configuration_error_is_a_line_for_each_problem() -> None:
    assert str(ConfigurationError("a: wrong", "b: wrong")) == "a: wrong\nb: wrong"
    assert ConfigurationError("a: wrong", "b: wrong").lines == ("a: wrong", "b: wrong")
