-- Sends the tokens of a file (one a line) in turn; prints one line of JSON when done.
-- wrk … -s wrk.lua URL -- PATH TOKENS [SKIP]    SKIP: how many tokens of the file to begin after
--
-- The header after the token is there for LuaJIT: it hashes a long string by a few of its bytes,
-- some at its middle, and that must fall into the signature or 100 000 requests collide.
local AGENT = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120.0.0.0 Safari/537.36"
local requests, at = {}, 0

function init(args)
  local head = "GET " .. args[1] .. " HTTP/1.1\r\nHost: " .. wrk.headers["Host"] .. "\r\nAuthorization: Bearer "
  local tail = "\r\nAccept: application/json\r\nUser-Agent: " .. AGENT .. "\r\n\r\n"
  for token in io.lines(args[2]) do
    requests[#requests + 1] = head .. token .. tail
  end
  at = tonumber(args[3] or "0")
end

function request()
  at = at % #requests + 1
  return requests[at]
end

function done(summary, latency)
  local e = summary.errors
  io.write(string.format('\nJSON {"requests":%d,"us":%d,"refused":%d,"broken":%d,"p50":%d,"p99":%d}\n',
    summary.requests, summary.duration, e.status, e.connect + e.read + e.write + e.timeout,
    latency:percentile(50), latency:percentile(99)))
end
