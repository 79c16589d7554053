"""ID tokens: of CI jobs and of people."""
