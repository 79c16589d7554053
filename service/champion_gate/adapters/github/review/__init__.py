"""GitHub's pull requests as the place where people approve: by their reviews of one commit."""
