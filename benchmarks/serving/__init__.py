"""The server under load: requests a second, latency idle and during a consolidation, many namespaces."""
