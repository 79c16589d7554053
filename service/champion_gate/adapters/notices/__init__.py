"""Notices to people: the form of each receiver, and what its answers mean."""
