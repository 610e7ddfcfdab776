"""Loki: a fake of the part of its API that is asked, which every commit runs, and the real one, from `install`.

    with running_fake() as url:                  # in this process, on a port of its own
        push(url, Stream({"app": "payment-api"}, (Said(time.time_ns(), "ERROR no"),)))

    with running_loki(tmp_path) as url: ...      # where `why_not()` is empty

Both answer `conversation` as `recorded.json` has it, which is what a real one answered:
`python -m tests.standins.loki` records it anew.
"""

from tests.standins.loki.conversation import QUESTIONS, Answer, asked, lines, recorded
from tests.standins.loki.fake import running_fake
from tests.standins.loki.pushing import Said, Stream, push
from tests.standins.loki.servers import running_loki, why_not

__all__ = [
    "QUESTIONS",
    "Answer",
    "Said",
    "Stream",
    "asked",
    "lines",
    "push",
    "recorded",
    "running_fake",
    "running_loki",
    "why_not",
]
