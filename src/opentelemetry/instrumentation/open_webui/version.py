"""The package's version, read by the build and put on every instrumentation scope."""

__version__ = "0.1.0"
