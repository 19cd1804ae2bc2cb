"""`python -m mpno`."""

import sys

from mpno.cli_warm import hand_over

status = hand_over(sys.argv[1:])
if status is not None:
    sys.exit(status)

from mpno.cli import main  # noqa: E402

main()
