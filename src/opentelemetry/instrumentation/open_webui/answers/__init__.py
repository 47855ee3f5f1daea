"""Bytes of an answer become what it says: its text, its usage, its errors."""
