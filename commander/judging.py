"""`commander eval model`: labelled cases against a model."""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from commander.models import asked_model, instructions_of
from commander.terminal import AsJson, run
from commander.view import plain
from evaluation.model_cases import Asked, Hear, LabelledCase, ModelReport, Standing, examine, read_cases, told
from evaluation.recorded_replies import Recording, read_recording
from evaluation.tally import Tally
from incident.analysis import Analysis
from incident.budget import MILLIONTHS
from integrations.openai import OpenAIAnalyst, OpenAISettings, build_client
from worker.settings import Settings, load_settings

_NOT_GOOD = 1
_RECORDED = "recorded"
_NOBODY = OpenAISettings(base_url="http://recorded.invalid/v1", api="chat", input_price=0, output_price=0)


def judge_model(
    cases: Annotated[Path, typer.Option(help="A folder of .json files; tests/cases/README.md says how.")],
    prompt: Annotated[Path | None, typer.Option(help="Instructions for the model in place of ours.")] = None,
    recorded: Annotated[
        Path | None, typer.Option(help="Replies out of a file in place of a model's: no result, a rehearsal.")
    ] = None,
    *,
    as_json: AsJson = False,
) -> None:
    """Ask the model that OPENAI__* names to judge labelled cases. Exit 1 where one of them was not answered."""
    run(_judge_model(cases, prompt, recorded, as_json=as_json))


async def _judge_model(directory: Path, prompt: Path | None, recorded: Path | None, *, as_json: bool) -> int:
    cases, instructions = read_cases(directory), instructions_of(prompt)
    if recorded:
        report = await _rehearsed(cases, instructions, read_recording(recorded, [each.id for each in cases]))
    else:
        report = await _asked(cases, instructions, load_settings())
    typer.echo(report.model_dump_json(indent=2) if as_json else plain("\n".join(_lines(report))))
    return _NOT_GOOD if report.unanswered else 0


async def _asked(cases: tuple[LabelledCase, ...], instructions: str, settings: Settings) -> ModelReport:
    tally, model = Tally(), settings.openai
    async with asked_model(settings) as client:

        async def _ask(case: LabelledCase, hear: Hear) -> Analysis:
            return await OpenAIAnalyst(client, model, tally, instructions, hear).decide(case.case)

        answers = await examine(cases, _ask)
    return told(answers, _summed(model.base_url, model.model, tally))


async def _rehearsed(cases: tuple[LabelledCase, ...], instructions: str, recording: Recording) -> ModelReport:
    tally, settings = Tally(), _NOBODY.model_copy(update={"model": recording.model})

    async def _ask(case: LabelledCase, hear: Hear) -> Analysis:
        async with build_client(settings, recording.transport(case.id)) as client:
            return await OpenAIAnalyst(client, settings, tally, instructions, hear).decide(case.case)

    return told(await examine(cases, _ask), _summed(_RECORDED, recording.model, tally))


def _summed(endpoint: str, model: str, tally: Tally) -> Asked:
    spent, known = tally.spent, tally.certain
    return Asked(
        endpoint=endpoint,
        model=model,
        recorded=endpoint == _RECORDED,
        calls=spent.calls,
        tokens=spent.tokens if known else None,
        cost=spent.cost / MILLIONTHS if known else None,
    )


def _lines(report: ModelReport) -> Iterator[str]:
    note = "  (replies out of a file: a rehearsal, and no result)" if report.recorded else ""
    yield f"asked              {report.model} at {report.endpoint}{note}"
    yield f"cases              {report.cases}, {report.unanswered} of them not answered and in no figure"
    yield f"valid at once      {report.valid_at_once.words}"
    yield f"valid              {report.valid.words}"
    yield f"right action       {report.right_action.words}"
    yield f"right target       {report.right_target.words}"
    yield f"citations exist    {report.citations_exist.words}"
    yield f"no culprit         {report.no_culprit.words}"
    yield f"calls              {report.calls}"
    yield f"tokens             {'unknown' if report.tokens is None else report.tokens}"
    yield f"cost               {'unknown' if report.cost is None else f'{report.cost:.4f}'}"
    if report.median_seconds is not None and report.p95_seconds is not None:
        yield f"a decision takes   {report.median_seconds:.2f} s (median), {report.p95_seconds:.2f} s (95th percentile)"
    for each in report.answers:
        if each.standing is not Standing.VALID:
            yield f"{each.standing:<18} {each.case_id}: {each.problem}"
        elif not each.right_action or each.right_target is False:
            target = f" to {each.decision.rollback_to}" if each.decision and each.decision.rollback_to else ""
            yield f"wrong              {each.case_id}: {each.decision.action if each.decision else ''}{target}"
