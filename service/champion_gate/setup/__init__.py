"""What `champion-gate init` and `champion-gate setup` do, as the person who runs them: never as the service."""
