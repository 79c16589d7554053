"""Small stateful servers that speak the vendors' HTTP APIs, for the demo and the tests."""
