"""The whole flow on one machine, against stand-ins: `champion-gate demo`."""
