"""What the API takes and gives, as pydantic models: they validate, and they are the document."""
