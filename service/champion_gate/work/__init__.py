"""Durable work: the queue that wakes, the worker that works, and the threads that they run in."""
