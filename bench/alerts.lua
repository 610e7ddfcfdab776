-- wrk's script: alerts of many services in turn, and at the end one line of JSON about all of them.
-- wrk -s bench/alerts.lua URL -- SECRET SERVICES

local services, number = 1, 0

function init(args)
  wrk.method = "POST"
  wrk.headers["Content-Type"] = "application/json"
  wrk.headers["Authorization"] = "Bearer " .. args[1]
  services = tonumber(args[2])
end

function request()
  number = (number + 1) % services
  local labels = string.format('{"alertname": "HighErrorRate", "severity": "critical", "service": "bench-%d"}', number)
  local alert = '{"status": "firing", "labels": ' .. labels .. ', "annotations": {"summary": "5xx above 5 %"}, '
    .. '"startsAt": "2026-11-24T14:00:00Z", "endsAt": "0001-01-01T00:00:00Z", "fingerprint": "0123456789abcdef"}'
  return wrk.format(nil, nil, nil, '{"version": "4", "groupKey": "{}:{}", "truncatedAlerts": 0, "status": "firing", '
    .. '"receiver": "commander", "groupLabels": {}, "commonLabels": {}, "externalURL": "", "alerts": [' .. alert .. ']}')
end

function done(summary, latency)
  local errors = summary.errors
  local failed = errors.connect + errors.read + errors.write + errors.status + errors.timeout
  io.write(string.format('\n{"answered": %d, "microseconds": %d, "failed": %d, "p50_us": %d, "p95_us": %d}\n',
    summary.requests, summary.duration, failed, latency:percentile(50), latency:percentile(95)))
end
