"""Runs a server for a process that may be killed: when that process is gone, the server and its children end too.

Started as a file, by itself: `python server_guard.py DESCRIPTOR COMMAND ...`. The descriptor is the reading end of a pipe whose
other end only the caller holds.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys

#: Seconds between two looks at the server.
GUARD_LOOK_SECONDS = 0.2


def guard(descriptor: int, command: list[str]) -> int:
    """Run the command until it ends, or until the pipe closes; return its exit code, negative for a signal."""
    os.set_inheritable(descriptor, False)
    server = subprocess.Popen(command)
    # the whole session gets SIGTERM: the server ends by it, and this process reports how
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    while server.poll() is None:
        readable, _, _ = select.select([descriptor], [], [], GUARD_LOOK_SECONDS)
        if readable and not os.read(descriptor, 1):
            os.killpg(0, signal.SIGKILL)
    return server.returncode


if __name__ == "__main__":
    code = guard(int(sys.argv[1]), sys.argv[2:])
    if code < 0:
        if -code != signal.SIGKILL:
            signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    sys.exit(code)
