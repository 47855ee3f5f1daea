"""The page ``/usage`` and its API: what they are answered with, and the files of the page.

``docs/usage.md`` says what that is for people, ``docs/usage-api.md`` for programs. Nothing here
knows Open WebUI or HTTP.
"""
