-- SPDX-License-Identifier: MIT
-- wrk script: sends `depth` requests at once (wrk ... -- DEPTH)
init = function(args)
  local depth = tonumber(args[1]) or 16
  local r = {}
  for i = 1, depth do r[i] = wrk.format("GET", "/") end
  req = table.concat(r)
end
request = function() return req end
