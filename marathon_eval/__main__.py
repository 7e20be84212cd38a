"""Runs the `marathon-eval` command for `python -m marathon_eval`."""

import sys

from marathon_eval.cli.main import main

sys.exit(main())
