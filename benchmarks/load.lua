-- wrk -s load.lua URL -- REQUESTS. The file holds two lines for each request: its key and its body.
-- An answer that has errors counts as failed, whatever its status.
local requests, count, next_one = {}, 0, 0
local threads = {}
failed = 0

function setup(thread)
  table.insert(threads, thread)
end

function init(arguments)
  local lines = io.lines(arguments[1])
  for key in lines do
    count = count + 1
    requests[count] = wrk.format("POST", nil, {
      ["Host"] = wrk.headers["Host"],
      ["Authorization"] = "Bearer " .. key,
      ["Content-Type"] = "application/json",
    }, lines())
  end
end

function request()
  next_one = next_one % count + 1
  return requests[next_one]
end

function response(status, headers, body)
  if status ~= 200 or body:find('"errors"', 1, true) then
    failed = failed + 1
  end
end

function done(summary, latency, requests)
  local failures = summary.errors.connect + summary.errors.read + summary.errors.write + summary.errors.timeout
  for _, thread in ipairs(threads) do
    failures = failures + thread:get("failed")
  end
  io.write(string.format(
    "figures %d %d %d %d %d\n",
    summary.requests, summary.duration, latency:percentile(50), latency:percentile(99), failures
  ))
end
