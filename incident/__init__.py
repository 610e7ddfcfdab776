"""What an incident is and what may be done about it: pure data and pure rules.

Nothing here does input or output, reads a clock or knows Temporal.
Ratios are 0..1, latencies milliseconds, times aware.
"""
