"""What the service is about, without any vendor, framework or database, and without calls."""
