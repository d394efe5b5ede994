"""The order of steps, retries, suspensions and events; no arithmetic, no rules."""
