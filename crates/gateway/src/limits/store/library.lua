#!lua name=rh1
-- The counters of limits that gateways share: what `Rule::decide` does, in the same whole numbers. Every product stays
-- within 2^52, so that a double holds it exactly. Pure until the end; then one SET for each counter that changed, each
-- with the time after which it says nothing any more. A state that cannot be read is none.

-- While it is loaded a library may not see these; each function begins by asking the clock, which fetches them.
local floor, ceil, max, min, format, byte, pack, unpacked, call
local function fetch()
  floor, ceil, max, min = math.floor, math.ceil, math.max, math.min
  format, byte, pack, unpacked, call = string.format, string.byte, struct.pack, struct.unpack, redis.call
end

-- Microseconds by this server's clock, never by a client's.
local function clock(given)
  if not floor then fetch() end
  local time = redis.call('TIME')
  return time[1] * 1000000 + time[2]
end

-- When, how much and how much before; and whether it was counted with another window.
local function stored(raw, kind, window, burst, now)
  if not raw then return 0, 0, 0, false end
  -- Doubles as they are: to write and read them as text took a third of the whole call.
  if kind == 'b' then
    if #raw ~= 25 or byte(raw) ~= 98 then return 0, 0, 0, false end
    local at, used, was = unpacked('<ddd', raw, 2)
    if was == window then return at, used, 0, false end
    return at, min(floor(used / was), burst) * window, 0, true
  end
  if #raw ~= 33 or byte(raw) ~= 119 then return 0, 0, 0, false end
  local at, used, before, was = unpacked('<dddd', raw, 2)
  if was == window then return at, used, before, false end
  if floor(now / was) > at then used = 0 end
  return floor(now / window), used, 0, true
end

-- Whether it fits, remaining, retry (-1 is never), reset, delay; then the state after it.
local function decide(kind, quota, window, burst, now, cost, at, used, before)
  if kind == 'b' then
    local elapsed = min(max(now - at, 0), ceil(used / quota))
    local debt = max(used - quota * elapsed, 0)
    local full = burst * window
    local wanted = debt + min(cost, burst + 1) * window
    local fits = wanted <= full and cost <= burst
    local after = fits and wanted or debt
    local retry = fits and 0 or (cost > burst and -1 or ceil((wanted - full) / quota))
    return fits, max(floor((full - after) / window), 0), retry, ceil(after / quota), ceil(debt / quota),
      now, after, 0
  end
  local number = floor(now / window)
  local passed = now - number * window
  local left = window - passed
  if kind == 'f' then
    if number > at then used = 0 end
    local fits = used + cost <= quota
    local after = fits and used + cost or used
    local retry = fits and 0 or (cost > quota and -1 or left)
    return fits, max(quota - after, 0), retry, left, 0, number, after, 0
  end
  if number == at + 1 then
    used, before = 0, used
  elseif number > at then
    used, before = 0, 0
  end
  local inView = before * left
  local fits = cost <= quota and inView + (used + cost) * window <= quota * window
  local after = fits and used + cost or used
  local retry = 0
  if not fits and cost > quota then
    retry = -1
  elseif not fits and used + cost <= quota then
    retry = window - floor((quota - used - cost) * window / max(before, 1)) - passed
  elseif not fits then
    retry = left + max(window - floor((quota - cost) * window / max(used, 1)), 0)
  end
  return fits, max(floor((quota * window - after * window - inView) / window), 0), retry, left, 0,
    number, after, before
end

local function write(key, kind, quota, window, tick, now, at, used, before)
  local value, ticks
  if kind == 'b' then
    value = pack('<c1ddd', 'b', at, used, window)
    ticks = ceil(used / quota)
  else
    value = pack('<c1dddd', 'w', at, used, before, window)
    ticks = (at + 1) * window - now
    if kind == 'w' then ticks = ticks + window end
  end
  call('SET', key, value, 'PX', ceil(ticks * tick / 1000) + 1000)
end

-- now, then for each key: kind quota window tick burst cost shadow. All are charged, or none.
local function take(keys, args)
  local nowUs = clock(args[1])
  local raws = call('MGET', unpack(keys))
  local binding, longest = 0, -1
  local rows, answer = {}, { 0, 0, nowUs }
  for i = 1, #keys do
    local a = 7 * i - 5
    local kind, quota, window = args[a], tonumber(args[a + 1]), tonumber(args[a + 2])
    local tick, burst, cost = tonumber(args[a + 3]), tonumber(args[a + 4]), tonumber(args[a + 5])
    local now = floor(nowUs / tick)
    local at, used, before, anew = stored(raws[i], kind, window, burst, now)
    local fits, remaining, retry, reset, delay, newAt, newUsed, newBefore =
      decide(kind, quota, window, burst, now, cost, at, used, before)
    -- A clock that went back, and a window that is another one now, are noted even if nothing is charged.
    local moved = anew or newAt < at
    rows[i] = { kind, quota, window, tick, burst, cost, now, at, used, before, moved, fits, newAt, newUsed, newBefore }
    local n = 5 * i - 1
    answer[n] = fits and 1 or 0
    answer[n + 1], answer[n + 2], answer[n + 3], answer[n + 4] = remaining, retry, reset, delay
    if not fits and args[a + 6] ~= '1' then
      local wait = retry < 0 and math.huge or retry * tick
      if wait > longest then longest, binding = wait, i end
    end
  end
  for i = 1, #keys do
    local kind, quota, window, tick, burst, cost, now, at, used, before, moved, fits, newAt, newUsed, newBefore =
      unpack(rows[i])
    if binding ~= 0 and fits then
      local n, _ = 5 * i - 1, nil
      _, answer[n + 1], answer[n + 2], answer[n + 3], answer[n + 4], newAt, newUsed, newBefore =
        decide(kind, quota, window, burst, now, 0, at, used, before)
    end
    if moved or (binding == 0 and fits and cost > 0) then
      write(keys[i], kind, quota, window, tick, now, newAt, newUsed, newBefore)
    end
  end
  answer[1], answer[2] = binding == 0 and 1 or 0, binding
  return answer
end

-- What one key's arguments say, and how its counter stands.
local function one(keys, args)
  local nowUs = clock(args[1])
  local kind, quota, window = args[2], tonumber(args[3]), tonumber(args[4])
  local tick, burst = tonumber(args[5]), tonumber(args[6])
  local now = floor(nowUs / tick)
  local at, used, before = stored(redis.call('GET', keys[1]), kind, window, burst, now)
  return kind, quota, window, tick, burst, now, at, used, before
end

-- now kind quota window tick burst want gateways. Grants at most a half of each gateway's share of what is left, and
-- nothing when little is left: granted, remaining, reset, for how many us, the window's number.
local function lease(keys, args)
  local kind, quota, window, tick, burst, now, at, used, before = one(keys, args)
  local want, gateways = tonumber(args[7]), tonumber(args[8])
  local _, remaining, _, reset, _, number = decide(kind, quota, window, burst, now, 0, at, used, before)
  if remaining < 8 * gateways then return { 0, remaining, reset, 0, 0 } end
  local granted = max(1, min(want, floor(remaining / (2 * gateways))))
  local _, left, _, again, _, newAt, newUsed, newBefore =
    decide(kind, quota, window, burst, now, granted, at, used, before)
  write(keys[1], kind, quota, window, tick, now, newAt, newUsed, newBefore)
  local valid = 1000000
  if kind ~= 'b' then valid = min(valid, again * tick) end
  return { granted, left, again, valid, kind == 'b' and 0 or number }
end

-- now kind quota window tick burst units number. Gives units of a lease back, to the window they were taken from.
local function giveBack(keys, args)
  local kind, quota, window, tick, burst, now, at, used, before = one(keys, args)
  local units, number = tonumber(args[7]), tonumber(args[8])
  local _, _, _, _, _, newAt, newUsed, newBefore = decide(kind, quota, window, burst, now, 0, at, used, before)
  if kind == 'b' then
    newUsed = max(newUsed - units * window, 0)
  elseif newAt == number then
    newUsed = max(newUsed - units, 0)
  elseif kind == 'w' and newAt == number + 1 then
    newBefore = max(newBefore - units, 0)
  else
    return 0
  end
  write(keys[1], kind, quota, window, tick, now, newAt, newUsed, newBefore)
  return units
end

-- now kind quota window tick burst units. Charges what was let in without asking, at most as much again as fits.
local function charge(keys, args)
  local kind, quota, window, tick, burst, now, at, used, before = one(keys, args)
  local units = tonumber(args[7])
  local _, _, _, _, _, newAt, newUsed, newBefore = decide(kind, quota, window, burst, now, 0, at, used, before)
  if kind == 'b' then
    newUsed = min(newUsed + units * window, 2 * burst * window)
  else
    newUsed = min(newUsed + units, 2 * quota)
  end
  write(keys[1], kind, quota, window, tick, now, newAt, newUsed, newBefore)
  return units
end

-- now id. Says that a gateway lives, and how many did in the last three seconds.
local function live(keys, args)
  local nowUs = clock(args[1])
  redis.call('ZADD', keys[1], format('%.0f', nowUs), args[2])
  redis.call('ZREMRANGEBYSCORE', keys[1], '-inf', format('%.0f', nowUs - 3000000))
  redis.call('PEXPIRE', keys[1], 10000)
  return redis.call('ZCARD', keys[1])
end

redis.register_function('rh1_take', take)
redis.register_function('rh1_lease', lease)
redis.register_function('rh1_return', giveBack)
redis.register_function('rh1_charge', charge)
redis.register_function('rh1_live', live)
