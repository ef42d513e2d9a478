-- The limits of a call, counted in Redis in one step: all of them are taken, or none.
--
-- ARGV[1] is `reserve`, `settle` or `standing`; KEYS are the limits', one each, behind the key of
-- the reservation where there is one. A limit is one of
--   rate    steps of a second, oldest first: '<I4d' (second, amount) each, then '<d' their sum
--   stream  a sorted set of leases by the microsecond in which they end
--   day, month  '<I4d' (which day or month since 1970, or year 0; amount)
-- What is read is brought up to date in memory and written only when it is changed, so a refused
-- call writes nothing. Every key is written with a time to live. All times are Redis' own.

local WINDOW = 61 -- a step counts for 60 s after its own second, which may have begun just then
local SECOND = 1000000
local DAY = 86400
local DAYS = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31}
local STEP, SUM = 12, 8 -- bytes

local call, pack, unpack = redis.call, struct.pack, struct.unpack
local floor, max = math.floor, math.max
local time = call('TIME')
local second = tonumber(time[1])
local now = second * SECOND + tonumber(time[2])

-- Return which month it is (12 * year + month - 1) and the second in which it ends.
local function month_at(moment)
  local days = floor(moment / DAY) + 719468 -- since 1 March of year 0, when leap days come last
  local era = floor(days / 146097)
  local of_era = days - era * 146097
  local year = floor((of_era - floor(of_era / 1460) + floor(of_era / 36524)
    - floor(of_era / 146096)) / 365)
  local of_year = of_era - (365 * year + floor(year / 4) - floor(year / 100))
  local shifted = floor((5 * of_year + 2) / 153)
  local day = of_year - floor((153 * shifted + 2) / 5)
  local month = shifted < 10 and shifted + 3 or shifted - 9
  year = year + era * 400 + (month <= 2 and 1 or 0)
  local length = DAYS[month]
  if month == 2 and year % 4 == 0 and (year % 100 ~= 0 or year % 400 == 0) then length = 29 end
  return year * 12 + month - 1, (floor(moment / DAY) + length - day) * DAY
end

local function period_at(kind, moment)
  if kind == 'month' then return month_at(moment) end
  local day = floor(moment / DAY)
  return day, (day + 1) * DAY
end

-- Each kind: `read` what is used, `take` more (after which reading tells what is used then),
-- and how long until `enough` is free again. All leave `used`, `reset` and `next` (microseconds
-- until all, until some more is free; -1: unknown) in the limit.

local rate, stream, spend = {}, {}, {}

function rate.read(limit)
  local state = call('GET', limit.key) or ''
  local size = #state - SUM -- of the steps
  local used, from = 0, 1
  if size > 0 then
    used = unpack('<d', state, size + 1)
    limit.last = unpack('<I4', state, size - STEP + 1)
    if limit.last > second + WINDOW then -- the clock went back by more than can be waited for
      size, used, limit.last = 0, 0, nil
    end
  end
  while from < size do
    local step, amount = unpack('<I4d', state, from)
    if step + WINDOW > second then break end
    used, from = used - amount, from + STEP
  end
  if from > size then limit.last = nil end
  limit.state, limit.size, limit.from, limit.used = state, size, from, used
end

function rate.times(limit)
  limit.reset, limit.next = 0, 0
  if limit.from < limit.size or limit.last then
    local first = limit.from < limit.size and unpack('<I4', limit.state, limit.from) or limit.last
    limit.reset = (limit.last + WINDOW) * SECOND - now
    limit.next = (first + WINDOW) * SECOND - now
  end
end

function rate.wait(limit, missing)
  for at = limit.from, limit.size, STEP do
    local step, amount = unpack('<I4d', limit.state, at)
    missing = missing - amount
    if missing <= 0 then return (step + WINDOW) * SECOND - now end
  end
  return -1
end

function rate.take(limit)
  local used, size = limit.used + limit.asked, limit.size
  if limit.last == second and limit.from == 1 then -- the last step's amount, and the sum after it
    local before = unpack('<d', limit.state, size - SUM + 1)
    call('SETRANGE', limit.key, size - SUM, pack('<dd', before + limit.asked, used))
  else
    call('SET', limit.key, limit.state:sub(limit.from, size)
      .. pack('<I4dd', second, limit.asked, used), 'EX', WINDOW + 1)
  end
  limit.used, limit.last = used, second
end

function rate.settle(limit, at)
  if limit.change == 0 or at + WINDOW <= second then return end
  rate.read(limit)
  local state, size = limit.state, limit.size
  local low, high = 0, (size - limit.from + 1) / STEP -- of the steps before `at`
  while low < high do
    local middle = floor((low + high) / 2)
    if unpack('<I4', state, limit.from + middle * STEP) < at then
      low = middle + 1
    else
      high = middle
    end
  end
  local place, amount, after = limit.from + low * STEP, 0, limit.from + low * STEP
  if place < size then
    local step, found = unpack('<I4d', state, place)
    if step == at then amount, after = found, place + STEP end
  end
  local corrected = max(0, amount + limit.change)
  local used = limit.used + corrected - amount
  if corrected > 0 and after > place and limit.from == 1 then
    call('SETRANGE', limit.key, place + 3, pack('<d', corrected))
    call('SETRANGE', limit.key, size, pack('<d', used))
  elseif used > 0 then
    call('SET', limit.key,
      state:sub(limit.from, place - 1) .. (corrected > 0 and pack('<I4d', at, corrected) or '')
      .. state:sub(after, size) .. pack('<d', used), 'EX', WINDOW + 1)
  else
    call('DEL', limit.key)
  end
end

function stream.read(limit)
  call('ZREMRANGEBYSCORE', limit.key, '-inf', now)
  limit.used = call('ZCARD', limit.key)
end

function stream.times(limit)
  limit.reset, limit.next = 0, -1
  if limit.used > 0 then
    limit.reset = tonumber(call('ZRANGE', limit.key, -1, -1, 'WITHSCORES')[2]) - now
  end
end

function stream.wait()
  return SECOND -- a stream ends when it ends: worth another try soon
end

function stream.take(limit)
  local ends = now + limit.expires
  call('ZADD', limit.key, ends, limit.id)
  if call('PTTL', limit.key) * 1000 < limit.expires then
    call('PEXPIRE', limit.key, math.ceil(limit.expires / 1000))
  end
  limit.used = limit.used + 1
end

function stream.settle(limit)
  call('ZREM', limit.key, limit.id)
end

function spend.read(limit)
  local period, ends = period_at(limit.kind, second)
  local state = call('GET', limit.key)
  limit.used, limit.period, limit.ends = 0, period, ends
  if state then
    local found, amount = unpack('<I4d', state)
    if found >= period then limit.used, limit.period = amount, found end
  end
end

function spend.times(limit)
  limit.reset = limit.used > 0 and limit.ends * SECOND - now or 0
  limit.next = limit.reset
end

function spend.wait(limit)
  return limit.ends * SECOND - now
end

function spend.keep(limit, used)
  limit.used = used
  call('SET', limit.key, pack('<I4d', limit.period, used), 'EX', limit.ends + 60 - second)
end

function spend.take(limit)
  spend.keep(limit, limit.used + limit.asked)
end

function spend.settle(limit, at)
  spend.read(limit)
  if limit.change == 0 or limit.period ~= period_at(limit.kind, at) then return end
  spend.keep(limit, max(0, limit.used + limit.change))
end

local KINDS = {rate = rate, stream = stream, day = spend, month = spend}

-- reserve: the reservation's id, how long it lasts (microseconds); of each limit its kind, its
-- amount and what is asked. Answers: admitted (1 or 0), now, which limit is exceeded and how long
-- until it would admit the call (-1: never); of each limit `used`, `reset`, `next`.
local function reserve()
  local id, expires = ARGV[2], tonumber(ARGV[3])
  local limits, exceeded, longest = {}, 0, 0
  for n = 2, #KEYS do
    local place = 3 * n - 2
    local limit = { -- with every field that it will have: growing a table takes time
      key = KEYS[n], kind = ARGV[place], id = id, expires = expires,
      amount = tonumber(ARGV[place + 1]), asked = tonumber(ARGV[place + 2]),
      used = 0, reset = 0, next = 0, state = '', size = 0, from = 1, last = 0, period = 0, ends = 0,
    }
    local kind = KINDS[limit.kind]
    kind.read(limit)
    local over = limit.used + limit.asked - limit.amount
    if limit.asked > 0 and over > 0 and longest >= 0 then
      local wait = limit.asked > limit.amount and -1 or kind.wait(limit, over)
      if wait < 0 or wait > longest then exceeded, longest = n - 1, wait end
    end
    limits[n - 1] = limit
  end
  local reply = {exceeded == 0 and 1 or 0, now, exceeded, longest}
  for n, limit in ipairs(limits) do
    local kind = KINDS[limit.kind]
    if exceeded == 0 and limit.asked > 0 then kind.take(limit) end
    kind.times(limit)
    reply[3 * n + 2], reply[3 * n + 3], reply[3 * n + 4] = limit.used, limit.reset, limit.next
  end
  if exceeded == 0 then
    call('SET', KEYS[1], pack('<dd', second, now + expires), 'PX', math.ceil(expires / 1000))
  end
  return reply
end

-- settle: the reservation's id; of each limit its kind and the change. Answers whether it did.
local function settle()
  local open = call('GET', KEYS[1])
  if not open then return 0 end
  call('DEL', KEYS[1])
  local at, ends = unpack('<dd', open)
  if ends <= now then return 0 end
  for n = 2, #KEYS do
    local limit = {
      key = KEYS[n], kind = ARGV[2 * n - 1], id = ARGV[2], change = tonumber(ARGV[2 * n]),
    }
    KINDS[limit.kind].settle(limit, at)
  end
  return 1
end

-- standing: of each limit its kind. Answers what is used of each.
local function standing()
  local reply = {}
  for n, key in ipairs(KEYS) do
    local limit = {key = key, kind = ARGV[n + 1]}
    KINDS[limit.kind].read(limit)
    reply[n] = limit.used
  end
  return reply
end

return ({reserve = reserve, settle = settle, standing = standing})[ARGV[1]]()
