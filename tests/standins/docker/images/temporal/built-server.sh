#!/bin/sh
# Other parts of the server are told the container's own address, since nobody reaches 0.0.0.0.
set -eu
TEMPORAL_BROADCAST_ADDRESS="$(hostname -i | cut -d ' ' -f 1)"
export TEMPORAL_BROADCAST_ADDRESS
exec temporal-server start
