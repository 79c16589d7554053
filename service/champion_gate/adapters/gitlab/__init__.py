"""GitLab CI/CD as the place where people approve."""
