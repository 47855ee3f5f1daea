"""The usage page and its API as Open WebUI serves them: behind its own sign-in."""
