"""The OpenAI analyst: a model behind OpenAI's API, or behind any server that speaks it, as an `incident.ports.Analyst`.

By reason to change: `client` (settings, connection), `analyst` (repairs, checks), `meter` (what it takes), `api`
(the two request and reply formats), `failures` (what is worth retrying), `prompt` (what the model is told), `schema`
(what it may answer).
"""

from integrations.openai.analyst import OpenAIAnalyst
from integrations.openai.client import OpenAISettings, build_client
from integrations.openai.instructions import parse_instructions

__all__ = ["OpenAIAnalyst", "OpenAISettings", "build_client", "parse_instructions"]
