"""Pages for people: incidents, what is known of each, the answer to a question, and figures over what is past."""

from gateway.pages.router import build_pages

__all__ = ["build_pages"]
