"""Runs commands of the command line one after another in this process, and logs what they open, write and connect to.

Started as a script: `watched_commands.py LOG COMMANDS.json`. Python's audit events reach every file and socket that is
opened through its own modules (https://docs.python.org/3/library/audit_events.html). Each line of LOG is
`[command, event, argument]`; the last line of a command is `[command, "exit", code]`.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

#: Events that change paths, with the places of each path and of the folder's descriptor it is relative to.
CHANGES = {
    "os.remove": ((0, 1),),
    "os.rmdir": ((0, 1),),
    "os.rename": ((0, 2), (1, 3)),
    "os.link": ((1, 3),),
    "os.symlink": ((1, 2),),
    "os.mkdir": ((0, 2),),
    "os.chmod": ((0, 2),),
    "os.truncate": ((0, None),),
}
STARTS = ("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.spawn")
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_TRUNC


def absolute(path: Any, folder: int) -> str:
    """Return a path of an event in full; it may be a descriptor, or relative to a folder's descriptor."""
    if isinstance(path, int):
        return os.readlink(f"/proc/self/fd/{path}")
    base = os.getcwd() if folder in (-1, None) else os.readlink(f"/proc/self/fd/{folder}")
    return os.path.abspath(os.path.join(base, os.fsdecode(path)))


def watch(log: int, home: str) -> Any:
    """Return an audit hook that logs connections, programs, changed paths, and every file opened below `home`."""
    state = {"command": -1}

    def note(event: str, argument: Any) -> None:
        os.write(log, (json.dumps([state["command"], event, str(argument)]) + "\n").encode())

    def hook(event: str, args: tuple[Any, ...]) -> None:
        if event == "open":
            path, _, flags = args
            if not isinstance(path, (str, bytes)):
                return
            path = os.path.abspath(os.fsdecode(path))
            if isinstance(flags, int) and flags & _WRITING:
                note("write", path)
            elif path.startswith(f"{home}{os.sep}"):
                note("read", path)
        elif event == "socket.connect":
            note("connect", json.dumps(args[1] if isinstance(args[1], (tuple, list)) else str(args[1])))
        elif event == "socket.getaddrinfo":
            note("resolve", args[0])
        elif event in STARTS:
            note("start", args[0])
        elif event in CHANGES:
            for place, folder in CHANGES[event]:
                note("write", absolute(args[place], -1 if folder is None else args[folder]))

    hook.state = state  # type: ignore[attr-defined]
    return hook


def main() -> int:
    log = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    commands = json.loads(Path(sys.argv[2]).read_text())
    hook = watch(log, os.environ["HOME"])
    sys.addaudithook(hook)
    from marathon_eval.cli.main import main as command_line

    for number, command in enumerate(commands):
        hook.state["command"] = number
        try:
            code: Any = command_line(command)
        except SystemExit as stop:
            code = stop.code
        os.write(log, (json.dumps([number, "exit", str(code)]) + "\n").encode())
        sys.stdout.flush()
        sys.stderr.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main())
