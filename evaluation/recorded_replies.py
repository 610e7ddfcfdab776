"""Replies of a model out of a file, served as a server would: to try the way to a model without one."""

import json
from collections.abc import Sequence
from http import HTTPStatus
from pathlib import Path
from typing import Any

import httpx2
from pydantic import Field, ValidationError

from incident.analysis import Tokens
from incident.errors import ConfigurationError
from incident.model import Fact, field_errors


class Recording(Fact):
    """What a model, or whoever wrote it by hand, replied in each case."""

    model: str = Field(min_length=1, max_length=100, description="whose replies they are, such as `written by hand`")
    tokens: Tokens | None = Field(default=None, description="what each reply took; null: not known")
    replies: dict[str, tuple[dict[str, Any] | str, ...]] = Field(
        description="per case id: what it replied, and to each repair; an object stands for itself as JSON"
    )

    def transport(self, case_id: str) -> httpx2.AsyncBaseTransport:
        """A server that gives the replies of that case in turn, in the words of Chat Completions."""
        left = list(self.replies[case_id])

        def _answer(_: httpx2.Request) -> httpx2.Response:
            if not left:
                return httpx2.Response(HTTPStatus.SERVICE_UNAVAILABLE, json={"error": {"message": "no more replies"}})
            return httpx2.Response(HTTPStatus.OK, json=self._completion(left.pop(0)))

        return httpx2.MockTransport(_answer)

    def _completion(self, reply: dict[str, Any] | str) -> dict[str, Any]:
        text = reply if isinstance(reply, str) else json.dumps(reply)
        choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": text}}
        took = self.tokens
        usage = {"prompt_tokens": took.input, "completion_tokens": took.output} if took else None
        return {"object": "chat.completion", "model": self.model, "choices": [choice], "usage": usage}


def read_recording(file: Path, case_ids: Sequence[str]) -> Recording:
    """The recording in `file`.

    Raises:
        ConfigurationError: it cannot be used, or lacks replies to one of the cases.
    """
    try:
        recording = Recording.model_validate_json(file.read_bytes())
    except OSError as error:
        raise ConfigurationError(f"{file}: cannot be read ({type(error).__name__})") from error
    except ValidationError as error:
        raise ConfigurationError(*field_errors(error, str(file))) from error
    if missing := [each for each in case_ids if not recording.replies.get(each)]:
        raise ConfigurationError(f"{file}: expected replies to every case; none to {', '.join(missing)}")
    return recording
