"""The report of a run: HTML pages that need no network, no server and nothing else of SALUS."""
