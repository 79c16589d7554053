"""HTTP for the vendors that have no client library here: time-outs, deadlines, retries, answers read once."""
