"""`python -m saywell`."""

from saywell.cli import main

main()
