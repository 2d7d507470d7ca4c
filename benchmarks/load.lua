-- wrk -s load.lua URL -- REQUESTS [ACCOUNTS]. The file holds two lines for each request: its key and its body.
-- Where a number of accounts is given, each request has another number for @NUMBER@ in its body, and the accounts take
-- turns for @ACCOUNT@, and their first authorizations for @AUTHORIZATION@. An answer that has errors counts as failed, whatever its status.
local requests, count, next_one = {}, 0, 0
local accounts, number, run = nil, 0, os.time()
local threads = {}
failed = 0

function setup(thread)
  table.insert(threads, thread)
end

function init(arguments)
  local lines = io.lines(arguments[1])
  accounts = arguments[2] and tonumber(arguments[2])
  for key in lines do
    local headers = {
      ["Host"] = wrk.headers["Host"],
      ["Authorization"] = "Bearer " .. key,
      ["Content-Type"] = "application/json",
    }
    local body = lines()
    count = count + 1
    requests[count] = accounts and { headers = headers, body = body } or wrk.format("POST", nil, headers, body)
  end
end

function request()
  next_one = next_one % count + 1
  local one = requests[next_one]
  if not accounts then
    return one
  end
  number = number + 1
  local account = number % accounts + 1
  local body = one.body:gsub("@NUMBER@", run .. "-" .. number):gsub("@ACCOUNT@", "acct_" .. account)
  body = body:gsub("@AUTHORIZATION@", "auth_" .. account .. "_1")
  return wrk.format("POST", nil, one.headers, body)
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
