"""The two majors of Kestra that the flows run on, and whether they are built here."""

from enum import StrEnum
from pathlib import Path

_BUILT = Path(__file__).resolve().parents[3] / ".tools" / "kestra"
_INSTALL = "tests/standins/kestra/install"


class Major(StrEnum):
    """By the version that is built; kestra/engine/pom.xml has the same ones."""

    V1 = "1.3.31"
    V2 = "2.0.0"

    @property
    def home(self) -> Path:
        """Where `install` has put it: the jars in lib/, and java, which names the JDK's."""
        return _BUILT / self

    @property
    def java(self) -> int:
        """The oldest JDK that it runs on."""
        return 21 if self is Major.V1 else 25


def kestra_missing(major: Major, built: Path = _BUILT) -> str:
    """Why that Kestra cannot run here; empty: it can."""
    home = built / major
    if (home / "built").exists() and (home / "java").exists():
        return ""
    return f"Kestra {major} needs a JDK {major.java} or newer, Maven, and {_INSTALL}"
