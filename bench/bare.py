"""The P0 incident without Temporal: the same activities, called one after the other in one process."""

from datetime import UTC, datetime
from uuid import uuid4

from activities.analyze import AnalyzeInput
from activities.detect import DetectInput
from activities.remediate import RemediateInput
from activities.verify import VerifyInput
from incident import wording
from incident.dossier import Dossier, RemediationRecord, Stage, Trigger
from incident.identifiers import correlation_id, mint_incident_id, workflow_id
from incident.ledger import RollbackOrder
from incident.policy import Policy
from incident.recovery import look_at
from incident.snapshot import Outcome, Snapshot, close
from worker.bootstrap import Ports, build_actions, build_activities

ENVIRONMENT = "production"


class BarePipeline:
    """Runs incidents in `world`."""

    def __init__(self, world: Ports) -> None:
        self._activities = {each.__qualname__: each for each in (*build_activities(world), *build_actions(world))}

    async def run(self, service: str, policy: Policy) -> Snapshot:
        """Detect, analyze, alert, roll back, look until settled, report, record."""
        now = datetime.now(UTC)
        file = Dossier(
            incident_id=mint_incident_id(ENVIRONMENT, service, now, uuid4()),
            workflow_id=workflow_id(ENVIRONMENT, service),
            service=service,
            environment=ENVIRONMENT,
            trigger=Trigger(source="bench"),
            policy=policy,
            opened_at=now,
        )
        await self._decide(file)
        await self._act(file)
        await self._look(file)
        await self._tell_the_end(file)
        file.stage = Stage.CLOSED
        snapshot = close(file, Outcome.RECOVERED, datetime.now(UTC))
        await self._activities["Record.save"](snapshot)
        return snapshot

    async def _decide(self, file: Dossier) -> None:
        seen = await self._activities["Detect.collect"](
            DetectInput(
                incident_id=file.incident_id,
                environment=file.environment,
                service=file.service,
                thresholds=file.policy.thresholds,
                source_timeout=file.policy.source_timeout,
            )
        )
        file.evidence, file.assessment = seen.evidence, seen.assessment
        analyzed = await self._activities["Analyze.decide"](
            AnalyzeInput(
                incident_id=file.incident_id, evidence=seen.evidence, assessment=seen.assessment, policy=file.policy
            )
        )
        file.analysis, file.verdict = analyzed.analysis, analyzed.verdict

    async def _act(self, file: Dossier) -> None:
        if not (file.evidence and file.assessment and file.analysis and file.verdict):
            raise ValueError("nobody has decided")
        alert = wording.alert(file.incident_id, file.evidence, file.assessment, file.analysis, file.verdict)
        await self._activities["Notify.chat"](alert)
        target, expected_live = file.verdict.rollback()
        order = RollbackOrder(
            correlation_id=correlation_id(file.incident_id, "rollback"),
            incident_id=file.incident_id,
            execution_id="",
            service=file.service,
            environment=file.environment,
            target=target,
            expected_live=expected_live,
            reason=file.analysis.decision.summary,
            confidence=file.analysis.decision.confidence,
        )
        done = await self._activities["Remediate.rollback"](
            RemediateInput(
                incident_id=file.incident_id,
                order=order,
                decision=file.analysis.decision,
                evidence=file.evidence,
                assessment=file.assessment,
                policy=file.policy,
                approved=False,
            )
        )
        file.remediation = RemediationRecord(order=order, authorised_by="policy", run=done.run, refused=done.refused)

    async def _look(self, file: Dossier) -> None:
        if not (file.evidence and file.assessment):
            raise ValueError("nobody has looked")
        for _ in range(file.policy.max_looks):
            verified = await self._activities["Verify.look"](
                VerifyInput(
                    incident_id=file.incident_id,
                    environment=file.environment,
                    service=file.service,
                    before=look_at(file.evidence, file.assessment),
                    looks=tuple(file.looks),
                    thresholds=file.policy.thresholds,
                    limits=file.policy.recovery,
                    source_timeout=file.policy.source_timeout,
                )
            )
            file.looks += verified.looks
            file.recovery = verified.recovery
            if verified.recovery.settled:
                return

    async def _tell_the_end(self, file: Dossier) -> None:
        if not (file.evidence and file.assessment and file.recovery):
            raise ValueError("nobody has looked")
        before = look_at(file.evidence, file.assessment)
        await self._activities["Notify.chat"](
            wording.report(file.incident_id, file.evidence, before, file.looks, file.recovery, "rolled back")
        )
