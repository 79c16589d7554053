"""The API, `/api/v1`: routes, views, and the forms of requests and answers."""
