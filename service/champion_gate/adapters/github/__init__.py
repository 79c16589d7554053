"""GitHub Actions as the place where people approve."""
