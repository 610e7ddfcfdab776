"""What Slack takes as blocks: slack_sdk's models are the judge, and of what they leave open, Slack's documentation."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from slack_sdk.errors import SlackObjectFormationError
from slack_sdk.models.blocks import Block

MAX_BLOCKS = 50
MAX_ALL_BLOCKS = 13_200
MAX_TEXT = 40_000
MAX_FIELD = 2_000

_KNOWN = frozenset({"actions", "context", "divider", "header", "rich_text", "section"})
_TEXTS = frozenset({"plain_text", "mrkdwn"})
_RICH = frozenset({"rich_text_list", "rich_text_preformatted", "rich_text_quote", "rich_text_section"})


def refusal(blocks: Any) -> str:  # noqa: ANN401 - whatever came
    """The code that Slack refuses `blocks` with; empty: it takes them."""
    if not isinstance(blocks, list) or not all(isinstance(each, dict) for each in blocks):
        return "invalid_blocks_format"
    if len(blocks) > MAX_BLOCKS or any(_errors(blocks)):
        return "invalid_blocks"
    if len(json.dumps(blocks, ensure_ascii=False, separators=(",", ":"))) > MAX_ALL_BLOCKS:
        return "msg_blocks_too_long"
    return ""


def _errors(blocks: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    for block in blocks:
        if block.get("type") not in _KNOWN:
            yield f"unknown type: {block.get('type')}"
            continue
        try:
            parsed = Block.parse(dict(block))
            if parsed is None:
                yield "no block"
            else:
                parsed.to_dict()
        except (SlackObjectFormationError, AttributeError, KeyError, TypeError, ValueError) as error:
            yield str(error)
        yield from _unseen_by_the_models(block)


def _unseen_by_the_models(block: Mapping[str, Any]) -> Iterator[str]:
    elements = block.get("elements") or ()
    match block["type"]:
        case "header":
            yield from _text(block.get("text"), 150, {"plain_text"})
        case "section":
            yield from _section(block)
        case "context":
            yield from () if elements else ("a context without elements",)
            for element in elements:
                yield from _text(element, 3_000, _TEXTS)
        case "actions":
            yield from _buttons(elements)
        case "rich_text":
            yield from _rich(elements)


def _section(block: Mapping[str, Any]) -> Iterator[str]:
    if not block.get("text") and not block.get("fields"):
        yield "a section without text"
    if block.get("text"):
        yield from _text(block["text"], 3_000, _TEXTS)
    for field in block.get("fields") or ():
        yield from _text(field, MAX_FIELD, _TEXTS)


def _text(text: Any, most: int, kinds: frozenset[str] | set[str]) -> Iterator[str]:  # noqa: ANN401 - whatever came
    if not isinstance(text, dict) or text.get("type") not in kinds:
        yield "no text object of a kind that fits"
        return
    said = text.get("text")
    if not isinstance(said, str) or not 0 < len(said) <= most:
        yield f"a text of 1 to {most} characters is needed"
    if ("verbatim" if text["type"] == "plain_text" else "emoji") in text:
        yield "an argument of the other kind"


def _buttons(elements: Sequence[Any]) -> Iterator[str]:
    if not elements:
        yield "actions without elements"
    names = [each.get("action_id") for each in elements]
    if len(names) != len(set(names)):
        yield "action_id is not unique"
    for each in elements:
        yield from _text(each.get("text"), 75, {"plain_text"})
        if each.get("type") != "button" or each.get("style", "primary") not in {"primary", "danger"}:
            yield "no button that fits"
        if len(each.get("value", "")) > 2_000 or not 0 < len(each.get("action_id", "")) <= 255:
            yield "a value or an action_id that is too long"
        if confirm := each.get("confirm"):
            for part, most in (("title", 100), ("text", 300), ("confirm", 30), ("deny", 30)):
                yield from _text(confirm.get(part), most, _TEXTS if part == "text" else {"plain_text"})


def _rich(elements: Sequence[Any]) -> Iterator[str]:
    if not elements:
        yield "rich text without elements"
    for each in elements:
        if each.get("type") not in _RICH or not each.get("elements"):
            yield "no part of a rich text"
        for run in each.get("elements") or ():
            if run.get("type") == "text" and not run.get("text"):
                yield "an empty text"
