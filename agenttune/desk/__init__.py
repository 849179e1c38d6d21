"""Builds the suite `desk`: tools that work offline, requests for them, training records and cases. Started by `build`."""
