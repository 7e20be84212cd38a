"""A verb as one of several processes: rank 0 does it, the others answer what it asks and exit as it does."""

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

_EXIT_BROKEN = 1


def as_rank(ranks: Ranks, work: Callable[[Leader], int]) -> int:
    """`work` where this is rank 0; its exit code in every process."""
    # before torch is imported: of a store that is gone it prints a page of C++ frames, we say one line
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
    from marathon_eval.evaluator.distributed.follower import follow
    from marathon_eval.evaluator.distributed.leader import Leader
    from marathon_eval.evaluator.distributed.messages import LEADER, Channel, Pulse

    if ranks.rank != LEADER:
        return follow(ranks, EXIT_INCOMPLETE)
    link = Channel.connect(ranks)
    leader, code = Leader(link), _EXIT_BROKEN
    with Pulse(link):
        try:
            code = work(leader)
        except MarathonError:
            code = EXIT_MISTAKE
            raise
        except KeyboardInterrupt:
            code = EXIT_INTERRUPTED
            raise
        finally:
            # all is written: a launcher that sees one process leave before the others must not cut this short
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            leader.end(code)
    return code
