-- wrk's side of bench/harness/wrk.py: send the requests in turn, and say in one line what came back.
-- Each request is in the file as its length, a line's end, and its bytes.

local requests, count, at = {}, 0, 0

function init(arguments)
  local file = assert(io.open(arguments[1], "rb"))
  local length = file:read("*n")
  while length do
    file:read(1)
    count = count + 1
    requests[count] = file:read(length)
    length = file:read("*n")
  end
end

function request()
  at = at % count + 1
  return requests[at]
end

function done(summary, latency)
  local errors = summary.errors
  local unsent = errors.connect + errors.read + errors.write + errors.timeout
  io.write(string.format("counted %d %d %d %d %d %d\n", summary.requests, summary.duration,
    errors.status, unsent, latency:percentile(50), latency:percentile(99)))
end
