"""An ended call becomes spans, metrics and events, and these leave the process."""
