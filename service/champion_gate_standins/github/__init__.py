"""GitHub: Actions, environments, reviews, ID tokens, webhooks."""
