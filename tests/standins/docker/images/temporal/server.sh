#!/bin/sh
# The dev server on the ports of the real one, and with the settings of its dynamic configuration that matter here.
exec temporal server start-dev --ip 0.0.0.0 --port 7233 --http-port 7243 --metrics-port 9090 \
    --ui-port 8233 --ui-disable-news-fetch \
    --log-level error --db-filename /tmp/temporal.db \
    --sqlite-pragma journal_mode=wal --sqlite-pragma synchronous=normal \
    --dynamic-config-value 'history.timerProcessorMaxTimeShift="5ms"' \
    --dynamic-config-value history.transferProcessorMaxPollRPS=1000
