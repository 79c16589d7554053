"""Pages for people: the API's reference, and the dashboard."""
