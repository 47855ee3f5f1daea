"""`make demo`: a real Open WebUI under the instrumentation, a small day of traffic, the tables."""
