"""Why a page is not what was asked for."""


class PageError(Exception):
    """Shown as a page of its own. The texts say nothing that an attacker could use."""

    def __init__(self, status: int, title: str, text: str) -> None:
        super().__init__(f"{status} {title}: {text}")
        self.status = status
        self.title = title
        self.text = text
