-- Requests for bench/gateway. Arguments after `--`: plain, or the file of requests' identities (`host header`), and
-- `flood` to use only the first of them and count the answers by status.
local requests, turn = {}, 0
local flood = false
local threads = {}

function setup(thread) table.insert(threads, thread) end

function init(args)
  if args[1] == "plain" then
    requests[1] = wrk.format("GET", "/v1/stamps/42")
  else
    for line in io.lines(args[1]) do
      local host, name, value = line:match("^(%S+) (%S+) (.+)$")
      requests[#requests + 1] = wrk.format("GET", "/v1/stamps/42", { Host = host, [name] = value })
    end
  end
  refused = 0
  if args[2] == "flood" then
    requests = { requests[1] }
    response = function(status) if status == 429 then refused = refused + 1 end end
  end
end

function request()
  turn = turn % #requests + 1
  return requests[turn]
end

function done(summary, latency)
  local e = summary.errors
  local refused = 0
  for _, thread in ipairs(threads) do refused = refused + (thread:get("refused") or 0) end
  io.write(string.format('{"requests":%d,"us":%d,"p50_us":%d,"p99_us":%d,"bad_status":%d,"errors":%d,"refused":%d}\n',
    summary.requests, summary.duration, latency:percentile(50), latency:percentile(99), e.status,
    e.connect + e.read + e.write + e.timeout, refused))
end
