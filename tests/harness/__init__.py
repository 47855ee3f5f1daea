"""End-to-end test harness: a model provider, an OTLP receiver and a real Open WebUI process."""
