"""GitLab: pipelines, protected environments, ID tokens, webhooks."""
