"""`python -m mpno`."""

import sys

from mpno.cli_cards import take_card
from mpno.cli_warm import hand_over

card = take_card(sys.argv[1:])  # held until this process ends
status = hand_over(sys.argv[1:])
if status is not None:
    sys.exit(status)

from mpno.cli import main  # noqa: E402

main()
