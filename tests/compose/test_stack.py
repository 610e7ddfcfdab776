"""docker-compose.yml, started: the documented path without Kestra, and what the stack survives."""

from datetime import UTC, datetime

import httpx

from incident.identifiers import workflow_id
from tests.compose.stack import ComposeStack, eventually

_WORKFLOW = workflow_id("production", "payment-api")


def _trigger(stack: ComposeStack) -> None:
    """Returns once the outage shows."""
    stack.mock.post("/demo/trigger-incident").raise_for_status()
    eventually(lambda: stack.mock.get("/health").status_code == httpx.codes.SERVICE_UNAVAILABLE, "an outage")


def _declined(stack: ComposeStack, incident_id: str) -> bool:
    """Whether the workflow has heard that the analyst outside declines; 503 while no worker answers for it."""
    answer = stack.gateway.post(f"/incidents/{incident_id}/decision", json={"declined": "a test"})
    return answer.status_code in {httpx.codes.ACCEPTED, httpx.codes.CONFLICT}  # it may have heard it before


def _activations(stack: ComposeStack) -> int:
    calls = stack.mock.get("/demo/journal").raise_for_status().json()["entries"]
    return len([each for each in calls if each["action"] == "activate"])


def test_a_triggered_incident_recovers_by_one_rollback_and_no_container_takes_harm(stack: ComposeStack) -> None:
    before = _activations(stack)
    _trigger(stack)
    outage = datetime.now(UTC)

    incident_id = stack.open_incident()
    ended = stack.timed("an incident, from its trigger to its recovery", lambda: stack.ended(incident_id))

    assert (ended["outcome"], ended["classification"]) == ("RECOVERED", "FULLY_RECOVERED")
    assert _activations(stack) == before + 1
    assert stack.mock.get("/health").status_code == httpx.codes.OK
    probes = [each for each in stack.find("payment-api").probes if each.began > outage]
    assert probes
    assert all(each.healthy for each in probes)
    assert {each.health for each in stack.running()} <= {"healthy", ""}
    assert all(each.described["RestartCount"] == 0 for each in stack.running())


def test_the_web_ui_is_there(stack: ComposeStack) -> None:
    assert httpx.get(stack.web_ui, follow_redirects=True, trust_env=False).status_code == httpx.codes.OK


def test_a_rebuilt_worker_takes_over_an_open_incident(stack: ComposeStack) -> None:
    stack.release("second")
    _trigger(stack)
    incident_id = stack.open_incident(outside_analyst="somebody-slow")
    asked = stack.gateway.get(f"/incidents/{incident_id}/evidence", params={"wait": 30})
    assert asked.status_code == httpx.codes.OK, asked.text

    stack.timed("another build of the worker, up and current", stack.up)
    eventually(lambda: _declined(stack, incident_id), "the analyst outside heard to decline")
    ended = stack.ended(incident_id)

    assert ended["outcome"] == "RECOVERED"
    tasks = [
        each["workflowTaskCompletedEventAttributes"]
        for each in stack.history(_WORKFLOW)
        if "workflowTaskCompletedEventAttributes" in each
    ]
    builds = [each["deploymentVersion"]["buildId"] for each in tasks]
    assert (builds[0], builds[-1]) == ("first", "second")


def test_nothing_is_lost_where_everything_is_taken_down_and_started_again(stack: ComposeStack) -> None:
    incident_id = stack.open_incident()
    stack.ended(incident_id)
    before = stack.gateway.get(f"/incidents/{incident_id}/snapshot").raise_for_status().json()
    listed = stack.gateway.get("/incidents").raise_for_status().json()["incidents"]

    stack.timed("down", stack.down)
    assert stack.running() == []
    stack.timed("up again", stack.up)

    assert stack.gateway.get(f"/incidents/{incident_id}/snapshot").raise_for_status().json() == before
    assert stack.gateway.get("/incidents").raise_for_status().json()["incidents"] == listed


def test_every_process_ends_by_itself_when_it_is_told_to(stack: ComposeStack) -> None:
    ours = ("worker", "gateway", "payment-api")
    stack.compose("stop", *ours)
    assert {name: stack.find(name).state["ExitCode"] for name in ours} == dict.fromkeys(ours, 0)
    stack.up()


def test_no_container_runs_as_root_or_may_more_than_it_needs(stack: ComposeStack) -> None:
    for each in stack.running():
        where = each.service
        assert each.status("Uid").split()[0] != "0", where
        assert int(each.status("CapEff"), 16) == 0, where
        assert each.status("NoNewPrivs") == "1", where
        assert each.limits["Memory"] > 0, where
        assert each.limits["PidsLimit"] > 0, where
        assert each.limits["ReadonlyRootfs"], where
        assert not any("docker.sock" in mount["Source"] for mount in each.described["Mounts"]), where


def test_only_this_machine_reaches_the_ports(stack: ComposeStack) -> None:
    bound = {
        (each.service, at["HostIp"])
        for each in stack.running()
        for places in each.limits["PortBindings"].values()
        for at in places
    }
    assert bound == {("payment-api", "127.0.0.1"), ("gateway", "127.0.0.1"), ("temporal-ui", "127.0.0.1")}


def test_a_worker_that_temporal_does_not_answer_is_told_as_not_ready(stack: ComposeStack) -> None:
    stack.compose("pause", "temporal")
    try:
        eventually(lambda: stack.find("worker").health == "unhealthy", "the worker told as unhealthy")
    finally:
        stack.compose("unpause", "temporal")
    eventually(lambda: stack.find("worker").health == "healthy", "the worker healthy again")


def test_an_alert_of_prometheus_opens_its_incident(stack: ComposeStack) -> None:
    known = {each["incident_id"] for each in stack.gateway.get("/incidents").raise_for_status().json()["incidents"]}
    stack.compose("up", "--detach", "prometheus", "alertmanager")
    eventually(lambda: stack.targets() == {"up"}, "every target of Prometheus answers it")

    _trigger(stack)
    opened = stack.timed("from an outage to its incident, by an alert", lambda: stack.another_incident(known))

    assert stack.ended(opened)["outcome"] == "RECOVERED"
