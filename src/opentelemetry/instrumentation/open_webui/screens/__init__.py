"""What Open WebUI's own screens show, answered from the ledger.

``docs/screens.md`` says what that is for people. Nothing here knows how Open WebUI is patched.
"""
