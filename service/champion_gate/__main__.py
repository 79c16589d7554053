"""`python -m champion_gate`."""

from champion_gate.cli import main

main()
