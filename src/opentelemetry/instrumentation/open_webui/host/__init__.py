"""All that knows Open WebUI: where it calls models, who is calling, what it is configured for."""
