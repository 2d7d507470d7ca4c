-- wrk -s posting.lua URL -- CALL ACCOUNTS. CALL holds two lines: the key, and the body with @NUMBER@ and @ACCOUNT@ in it.
-- Each request has another number, and the accounts take turns. An answer that has errors counts as failed.
local headers, body, accounts
local number, run = 0, os.time()
local threads = {}
failed = 0

function setup(thread)
  table.insert(threads, thread)
end

function init(arguments)
  local lines = io.lines(arguments[1])
  headers = {
    ["Host"] = wrk.headers["Host"],
    ["Authorization"] = "Bearer " .. lines(),
    ["Content-Type"] = "application/json",
  }
  body = lines()
  accounts = tonumber(arguments[2])
end

function request()
  number = number + 1
  local filled = body:gsub("@NUMBER@", run .. "-" .. number):gsub("@ACCOUNT@", "acct_" .. number % accounts + 1)
  return wrk.format("POST", nil, headers, filled)
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
