#!/bin/sh
# The dev server has the Web UI in it.
exec socat TCP-LISTEN:8080,fork,reuseaddr "TCP:${TEMPORAL_ADDRESS%:*}:8233"
