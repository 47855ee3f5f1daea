"""One call to a model: whether a request is one, on whose behalf, and its way to the end."""
