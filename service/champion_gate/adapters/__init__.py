"""The vendors, each behind a port of `domain`."""
