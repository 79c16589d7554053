"""What acts: from a notification to the alias set, each step through a port or the store."""
