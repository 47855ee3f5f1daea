"""The HTTP clients that Open WebUI and its functions use: how each sends, and how it is read."""
