"""Runs a verb in several processes: rank 0 executes it, the other ranks run the model on requests it sends."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from typing import TYPE_CHECKING

from marathon_eval.cli.main import EXIT_INCOMPLETE, EXIT_INTERRUPTED, EXIT_MISTAKE
from marathon_eval.errors import MarathonError

if TYPE_CHECKING:
    from marathon_eval.evaluator.distributed.leader import Leader
    from marathon_eval.evaluator.distributed.ranks import Ranks

#: Exit code of all ranks when rank 0 fails with an unexpected exception.
_EXIT_UNEXPECTED = 1


def as_rank(ranks: Ranks, work: Callable[[Leader], int]) -> int:
    """Call `work` on rank 0 and follow its orders on every other rank; return rank 0's exit code on all of them."""
    # Set before torch is imported: when the store is gone, torch prints a page of C++ frames; our error is one line
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
    from marathon_eval.evaluator.distributed.follower import follow
    from marathon_eval.evaluator.distributed.leader import Leader
    from marathon_eval.evaluator.distributed.messages import LEADER, Channel, Pulse

    if ranks.rank != LEADER:
        return follow(ranks, EXIT_INCOMPLETE)
    channel = Channel.connect(ranks)
    leader, code = Leader(channel), _EXIT_UNEXPECTED
    with Pulse(channel):
        try:
            code = work(leader)
        except MarathonError:
            code = EXIT_MISTAKE
            raise
        except KeyboardInterrupt:
            code = EXIT_INTERRUPTED
            raise
        finally:
            # All output is written by now. Launchers terminate the other ranks as soon as one has exited; ignore
            # that signal, so that rank 0 can still send its exit code
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            leader.end(code)
    return code
