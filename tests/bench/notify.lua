-- wrk's part: each request tells of another run. Arguments: the job's id, the first run's id.
local job, run

function init(arguments)
  job, run = arguments[1], tonumber(arguments[2])
end

function request()
  run = run + 1
  return wrk.format("POST", nil, nil, string.format(
    '{"event_type": "jobs.on_success", "workspace_id": 1234567890123456, ' ..
    '"run": {"run_id": %d}, "job": {"job_id": %s, "name": "train"}}', run, job))
end

function done(summary, latency, requests)
  local lost = summary.errors
  io.write(string.format('{"answered": %d, "seconds": %f, "bad": %d, "p50_ms": %f, "p99_ms": %f}\n',
    summary.requests, summary.duration / 1e6, lost.connect + lost.read + lost.write + lost.status + lost.timeout,
    latency:percentile(50) / 1e3, latency:percentile(99) / 1e3))
end
