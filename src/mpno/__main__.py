"""`python -m mpno`."""

from mpno.cli import main

main()
