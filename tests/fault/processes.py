"""What the kernel knows of processes."""

from pathlib import Path

_PROC = Path("/proc")


def frozen(pid: int) -> bool:
    """Whether the process has been stopped by a signal."""
    return _state(pid) == "T"


def gone(pid: int) -> bool:
    """Whether the process has ended, collected or not."""
    return _state(pid) in {"", "Z"}


def working_in(directory: Path) -> dict[int, str]:
    """The command lines of all live processes whose working directory is `directory`, by process id."""
    found: dict[int, str] = {}
    for entry in _PROC.iterdir():
        try:
            if not entry.name.isdigit() or (entry / "cwd").readlink() != directory.resolve():
                continue
            command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue  # it has ended, or is a stranger's
        if command:  # a dead process that waits to be collected has none
            found[int(entry.name)] = command
    return found


def _state(pid: int) -> str:
    try:
        status = (_PROC / str(pid) / "stat").read_text(encoding="utf-8")
    except (FileNotFoundError, ProcessLookupError):
        return ""
    return status.rpartition(")")[2].split()[0]
