from datetime import timedelta

import pytest
from pydantic import ValidationError

from incident.anomalies import Band, Thresholds
from incident.burn_rate import Objective
from incident.errors import ConfigurationError
from incident.evidence import Metric
from incident.freeze import Weekday
from incident.ledger import Quota
from incident.policy import Mode, Policy, PolicyBook, parse_policy
from incident.verifying import RecoveryLimits
from tests.builders import policy

KNOWN = ("payment-api", "checkout")


def refused(text: str) -> list[str]:
    with pytest.raises(ConfigurationError) as caught:
        parse_policy(text, "policy.toml", KNOWN)
    assert str(caught.value).splitlines() == list(caught.value.lines)
    return list(caught.value.lines)


def test_an_empty_file_is_the_default_policy() -> None:
    book = parse_policy("", "policy.toml", KNOWN)
    assert book == PolicyBook()
    assert book.of("payment-api", "production") == Policy()


def test_the_defaults_are_the_seeds_where_it_has_any() -> None:
    assert Policy().min_confidence == 0.8
    assert (RecoveryLimits().error_rate_below, RecoveryLimits().p99_below) == (0.01, 200)
    assert (RecoveryLimits().significant_error_share, RecoveryLimits().significant_latency_gain) == (0.5, 0.3)


def test_by_default_nobody_may_approve_and_recovery_takes_three_good_looks() -> None:
    assert Policy().approvers == ()
    assert Policy().recovery.stable_looks == 3
    assert Policy().deployment_explains_within == timedelta(hours=2)


def test_by_default_a_person_is_asked_and_every_guardrail_is_up() -> None:
    default = Policy()
    assert (default.mode, default.allow, default.min_signals, default.max_deployments_back) == (
        Mode.ASK,
        ("*/*",),
        2,
        3,
    )
    assert default.quota == Quota(service_per_hour=1, fleet_per_hour=3)
    assert (default.cool_down, default.freezes) == (timedelta(minutes=30), ())
    assert (default.undo, default.worse_looks) == (True, 3)


@pytest.mark.parametrize(
    ("text", "key", "expectation"),
    [
        ('mode = "loud"', "mode", "'shadow', 'ask' or 'auto' (got 'loud')"),
        ('allow = "*/*"', "allow", "valid tuple (got '*/*')"),
        ('allow = ["payment-api"]', "allow[0]", "match pattern"),
        ('allow = ["*/*", "production/Payment API"]', "allow[1]", "match pattern"),
        ('allow = ["production/pay*"]', "allow[0]", "match pattern"),
        ('allow = ["pro-duction/payment-api"]', "allow[0]", "match pattern"),
        ('allow = ["production/payment-api/1"]', "allow[0]", "match pattern"),
        ("min_signals = 0", "min_signals", "greater than or equal to 1 (got 0)"),
        ("min_signals = 7", "min_signals", "less than or equal to 6 (got 7)"),
        ("max_deployments_back = 0", "max_deployments_back", "greater than or equal to 1 (got 0)"),
        ("service_rollbacks_per_hour = -1", "service_rollbacks_per_hour", "greater than or equal to 0 (got -1)"),
        ("fleet_rollbacks_per_hour = 1.5", "fleet_rollbacks_per_hour", "valid integer"),
        ("cool_down = 30", "cool_down", 'a duration with its unit, such as "30s", "5m" or "2h" (got 30)'),
        ('cool_down = "-PT1S"', "cool_down", "greater than or equal to 0"),
        ('undo = "maybe"', "undo", "valid boolean"),
        ("worse_looks = 0", "worse_looks", "greater than or equal to 1 (got 0)"),
        ('start_within = "0s"', "start_within", "greater than 0"),
        ('review_within = "0s"', "review_within", "greater than 0"),
        ('recheck_every = "0s"', "recheck_every", "greater than 0"),
        ('worker_lost_after = "0.4s"', "worker_lost_after", "greater than or equal to 500000 microseconds"),
        ('worker_lost_after = "16s"', "worker_lost_after", "less than or equal to 15 seconds"),
        ("freezes = 1", "freezes", "valid tuple (got 1)"),
        ('[[freezes]]\nname = "x"', "freezes[0]", "expected either begins and ends, or days"),
        ("min_confidence = 0", "min_confidence", "greater than or equal to 0.5 (got 0)"),
        ("min_confidence = 0.49", "min_confidence", "greater than or equal to 0.5 (got 0.49)"),
        ("min_confidence = 80", "min_confidence", "less than or equal to 1 (got 80)"),
        ("min_confidence = nan", "min_confidence", "Input should be"),
        ("max_looks = 0", "max_looks", "greater than or equal to 1 (got 0)"),
        ("max_looks = 501", "max_looks", "less than or equal to 500 (got 501)"),
        ("max_looks = 2.5", "max_looks", "valid integer"),
        ("[recovery]\nstable_looks = 0", "recovery.stable_looks", "greater than or equal to 1 (got 0)"),
        ("[recovery]\nerror_rate_below = 0", "recovery.error_rate_below", "greater than 0 (got 0)"),
        ("[recovery]\nerror_rate_below = 2", "recovery.error_rate_below", "less than or equal to 1 (got 2)"),
        ("[recovery]\ntolerance = 1", "recovery.tolerance", "less than 1 (got 1)"),
        ("[recovery]\nsignificant_error_share = 50", "recovery.significant_error_share", "less than 1 (got 50)"),
        ("approve_within = 900", "approve_within", 'a duration with its unit, such as "30s", "5m" or "2h" (got 900)'),
        ('approve_within = "900"', "approve_within", 'a duration with its unit, such as "30s", "5m" or "2h"'),
        ('settle = "soon"', "settle", 'a duration with its unit, such as "30s", "5m" or "2h"'),
        ('decide_within = "99999999999d"', "decide_within", "a duration with its unit"),
        ('approve_within = "0s"', "approve_within", "greater than 0"),
        ('follow_every = "0s"', "follow_every", "greater than 0"),
        ('deployment_explains_within = "0s"', "deployment_explains_within", "greater than 0"),
        ('look_every = "-PT1S"', "look_every", "greater than or equal to 0"),
        ('source_timeout = "26s"', "source_timeout", "less than or equal to 25 seconds"),
        ("surprise = 1", "surprise", "Extra inputs are not permitted"),
        ("[recovery]\nsurprise = 1", "recovery.surprise", "Extra inputs are not permitted"),
        ("[thresholds.error_rate.loud]\nabove = 1", "thresholds.error_rate.loud", "Extra inputs are not permitted"),
        ("version = 2", "version", "Input should be 1 (got 2)"),
        ('approvers = "ada"', "approvers", "valid tuple (got 'ada')"),
        ("services = 1", "services", "valid dictionary (got 1)"),
        (
            "[thresholds.error_rate]\ncritical = {above = 0.02}\nwarning = {above = 0.05}",
            "thresholds.error_rate",
            "expected critical.above >= warning.above >= minor.above",
        ),
        ("[thresholds.cpu_usage]\ncritical = {above = -1}", "thresholds.cpu_usage.critical.above", "or equal to 0"),
    ],
)
def test_a_wrong_value_is_refused_with_file_key_and_expectation(text: str, key: str, expectation: str) -> None:
    (line,) = refused(text)
    assert line.startswith(f"policy.toml: {key}: ")
    assert expectation in line


@pytest.mark.parametrize("text", ["min_confidence =", "[recovery", "a = 1\na = 2", 'x = "\\q"'])
def test_what_is_not_toml_is_refused_with_the_file_and_the_place(text: str) -> None:
    (line,) = refused(text)
    assert line.startswith("policy.toml: not TOML: ")
    assert "line" in line or "end of document" in line


def test_a_silent_analyst_must_not_delay_the_page() -> None:
    (line,) = refused('decide_within = "5m"\npage_after = "5m"')
    assert line.startswith("policy.toml: decide_within: expected less than page_after")
    assert policy(decide_within="59s", page_after="60s").decide_within == timedelta(seconds=59)


def test_recovery_must_be_within_reach_of_the_looks() -> None:
    (line,) = refused("max_looks = 2")
    assert line.startswith("policy.toml: max_looks: expected at least recovery.stable_looks")
    assert policy(max_looks=3, recovery=RecoveryLimits(stable_looks=3)).max_looks == 3


def test_every_error_of_a_file_is_listed() -> None:
    lines = refused("min_confidence = 0\nmax_looks = 0\nsurprise = 1\nsettle = 5\n[recovery]\nstable_looks = 0")
    assert [line.split(": ")[1] for line in lines] == [
        "min_confidence",
        "settle",
        "max_looks",
        "recovery.stable_looks",
        "surprise",
    ]


def test_every_error_of_every_override_is_listed() -> None:
    lines = refused(
        "[services.payment-api]\nmin_confidence = 0\nmax_looks = 0\n"
        "[services.checkout]\nsurprise = 1\nversion = 1\n[services.nobody]\nmax_looks = 4"
    )
    assert [": ".join(line.split(": ")[:3]) for line in lines] == [
        "policy.toml: services.payment-api: min_confidence",
        "policy.toml: services.payment-api: max_looks",
        "policy.toml: services.checkout: surprise",
        "policy.toml: services.checkout: version",
        "policy.toml: services.nobody: expected a service of the registry",
    ]
    assert lines[-1].endswith("checkout, payment-api")


def test_an_override_with_an_empty_registry_says_that_there_is_none() -> None:
    with pytest.raises(ConfigurationError, match="expected a service of the registry: it has none"):
        parse_policy("[services.payment-api]", "policy.toml", ())


def test_an_override_changes_one_service_and_inherits_the_rest() -> None:
    book = parse_policy(
        'version = 1\nmin_confidence = 0.9\napprovers = ["ada"]\n[services.checkout]\nmin_confidence = 0.95',
        "policy.toml",
        KNOWN,
    )
    assert book.of("payment-api", "production").min_confidence == 0.9
    assert book.of("checkout", "production").min_confidence == 0.95
    assert book.of("checkout", "production").approvers == ("ada",)
    assert book.of("unheard-of", "production") == book.default


def test_overrides_merge_deeply() -> None:
    book = parse_policy(
        """
        [recovery]
        stable_looks = 5
        tolerance = 0.1
        [thresholds.error_rate]
        critical = {above = 0.2}
        warning = {above = 0.1}
        [services.checkout.recovery]
        tolerance = 0.2
        [services.checkout.thresholds.error_rate.critical]
        above = 0.3
        """,
        "policy.toml",
        KNOWN,
    )
    default, checkout = book.default, book.of("checkout", "production")
    assert (default.recovery.stable_looks, default.recovery.tolerance) == (5, 0.1)
    assert (checkout.recovery.stable_looks, checkout.recovery.tolerance) == (5, 0.2)
    limits = checkout.thresholds.error_rate
    assert limits.critical
    assert limits.warning
    assert (limits.critical.above, limits.warning.above) == (0.3, 0.1)
    assert default.thresholds.error_rate.critical
    assert default.thresholds.error_rate.critical.above == 0.2


@pytest.mark.parametrize(
    ("allow", "allowed"),
    [
        (("*/*",), {"production/payment-api", "production/checkout", "staging/payment-api"}),
        (("production/*",), {"production/payment-api", "production/checkout"}),
        (("*/payment-api",), {"production/payment-api", "staging/payment-api"}),
        (("production/payment-api",), {"production/payment-api"}),
        (("staging/payment-api", "production/checkout"), {"staging/payment-api", "production/checkout"}),
        ((), set()),
    ],
)
def test_the_list_holds_a_service_by_name_or_by_a_star(allow: tuple[str, ...], allowed: set[str]) -> None:
    places = [("production", "payment-api"), ("production", "checkout"), ("staging", "payment-api")]
    rules = policy(allow=allow)
    assert {f"{where}/{who}" for where, who in places if rules.allows(where, who)} == allowed


def test_an_objective_is_each_services_own_and_can_be_taken_away() -> None:
    text = """
        [objective]
        success = 0.999
        [services.checkout]
        objective = false
        [services.payment-api.objective]
        success = 0.9
        """
    book = parse_policy(text, "policy.toml", KNOWN)
    assert book.default.objective == Objective(success=0.999)
    assert [book.of(name, "production").objective for name in KNOWN] == [Objective(success=0.9), None]


def test_the_quota_is_what_the_policy_allows_within_an_hour() -> None:
    rules = policy(service_rollbacks_per_hour=4, fleet_rollbacks_per_hour=9)
    assert rules.quota == Quota(service_per_hour=4, fleet_per_hour=9)


def test_a_file_sets_every_guardrail() -> None:
    book = parse_policy(
        """
        mode = "auto"
        allow = ["production/*"]
        min_signals = 3
        max_deployments_back = 1
        service_rollbacks_per_hour = 2
        fleet_rollbacks_per_hour = 5
        cool_down = "1h"
        undo = false
        [[freezes]]
        name = "weekend"
        days = ["fri"]
        daily_from = 18:00:00
        daily_until = "23:59"
        timezone = "Europe/Berlin"
        [[services.checkout.freezes]]
        begins = 2026-12-24T00:00:00+01:00
        ends = 2026-12-27T00:00:00+01:00
        [services.payment-api]
        freezes = []
        """,
        "policy.toml",
        KNOWN,
    )
    rules = book.default
    assert (rules.mode, rules.allow, rules.min_signals, rules.max_deployments_back, rules.undo) == (
        Mode.AUTO,
        ("production/*",),
        3,
        1,
        False,
    )
    assert (rules.quota, rules.cool_down) == (Quota(service_per_hour=2, fleet_per_hour=5), timedelta(hours=1))
    (weekend,) = rules.freezes
    assert (weekend.name, weekend.days, weekend.timezone) == ("weekend", (Weekday.FRI,), "Europe/Berlin")
    (holidays,) = book.of("checkout", "production").freezes
    assert holidays.words == "2026-12-23 23:00:00Z to 2026-12-26 23:00:00Z"
    assert book.of("payment-api", "production").freezes == ()
    assert book.of("checkout", "production").mode is Mode.AUTO


def test_a_wrong_freeze_of_a_service_is_refused_by_its_service_and_field() -> None:
    (line,) = refused('[[services.checkout.freezes]]\ndays = ["fri"]\ndaily_from = "18:00"\ndaily_until = "24:30"')
    assert line.startswith("policy.toml: services.checkout: freezes[0].daily_until: ")


def test_an_override_must_hold_together_with_what_it_inherits() -> None:
    (line,) = refused('page_after = "10m"\n[services.checkout]\ndecide_within = "10m"')
    assert line.startswith("policy.toml: services.checkout: decide_within: expected less than page_after")


def test_a_policy_survives_json() -> None:
    assert Policy.model_validate_json(policy().model_dump_json()) == policy()


def test_a_policy_in_force_cannot_be_changed() -> None:
    with pytest.raises(ValidationError):
        policy().min_confidence = 0.5  # type: ignore[misc]  # that it is refused is the point


def test_a_band_that_a_file_does_not_name_keeps_its_default() -> None:
    book = parse_policy(
        "[thresholds.error_rate]\ncritical = { above = 0.2 }\n[services.api.thresholds.error_rate]\nminor = false\n",
        "policy.toml",
        ["api"],
    )
    limits = book.default.thresholds.error_rate
    assert limits.critical == Band(above=0.2)
    assert (limits.warning, limits.minor) == (Band(above=0.05), Band(above=0.02))
    assert book.of("api", "production").thresholds.error_rate == limits.model_copy(update={"minor": None})


def test_a_metric_set_to_false_is_not_judged() -> None:
    book = parse_policy("[thresholds]\nmemory_usage = false\n", "policy.toml", [])
    assert Metric.MEMORY_USAGE not in [metric for metric, _, _ in book.default.thresholds.judged()]
    assert book.default.thresholds.cpu_usage == Thresholds().cpu_usage


def test_a_policy_under_which_everything_passes_for_healthy_is_refused() -> None:
    text = "[thresholds]\n" + "".join(f"{name} = false\n" for name in Thresholds.model_fields if name in list(Metric))
    with pytest.raises(ConfigurationError, match="expected limits for at least one metric"):
        parse_policy(text, "policy.toml", [])


def test_another_name_must_stand_for_an_approver() -> None:
    with pytest.raises(ValidationError, match="known_as: expected names of approvers, got adda"):
        Policy(approvers=("ada",), known_as={"slack:T1/U1": "adda"})


def test_a_person_is_known_by_every_name() -> None:
    bounds = Policy(approvers=("ada",), known_as={"slack:T1/U1": "ada"})
    assert [bounds.person(name) for name in ("slack:T1/U1", "ada", "eve")] == ["ada", "ada", "eve"]


def test_by_default_a_question_is_asked_again_then_paged_then_closed() -> None:
    by_default = Policy()
    assert by_default.ask_again_after < by_default.page_unanswered_after < by_default.approve_within
    assert by_default.approvals_needed == 1
