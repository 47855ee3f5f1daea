"""The ledger: one row in a database for each call to a model, whatever becomes of all else.

``docs/ledger.md`` says what it is for people. Nothing here knows Open WebUI or OpenTelemetry, and
nothing but :mod:`.ledger`, :mod:`.booking` and :mod:`.spool` is on the way of a call.
"""
