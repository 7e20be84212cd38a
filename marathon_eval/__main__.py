"""`python -m marathon_eval` is `marathon-eval`."""

import sys

from marathon_eval.cli.main import main

sys.exit(main())
