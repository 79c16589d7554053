"""Receivers of notices: Slack's incoming webhooks, Teams' workflows, and whoever knows Standard Webhooks."""
