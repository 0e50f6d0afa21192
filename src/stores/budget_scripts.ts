// The Lua that counts budgets inside Redis; scripts.ts takes it up. A Lua number is exact up to 2^53 and a total
// goes to 10^18: totals are compared as decimal texts and changed by INCRBY and DECRBY, which count in 64 bits.
// Rates go by the clock of Redis, which is the same for gates whose own clocks are wrong.

/** Neither has leading zeros. An empty text is below every number. */
const compareDecimals = `
  local function above(a, b)
    if #a ~= #b then return #a > #b end
    return a > b
  end`

/** A counter that is not there holds nothing; one that no gate wrote stops the script before it writes. */
const readCounter = `
  local function counter(key)
    local value = redis.call('GET', key) or '0'
    if value ~= '0' and not string.match(value, '^[1-9]%d*$') then error({ err = 'MALFORMED budget' }) end
    return value
  end`

export const budgetScripts = {
  // counter …; 1 to take or 0 to look, then of each counter: its kind; the most that it may hold before, '' for
  // no room at all; what it takes; for how many ms a total is kept, or how many µs a rate may owe. A rate is kept
  // as the moment in µs at which it is whole again. 1 when all was taken, else 0; and what each counter holds.
  leasegateSpend: {
    lua: `${compareDecimals} ${readCounter}
      local time = redis.call('TIME')
      local now = time[1] * 1000000 + time[2]
      local reply, ahead = { ARGV[1] == '1' and 1 or 0 }, {}
      for i, key in ipairs(KEYS) do
        local kind, room, take, bound = unpack(ARGV, 4 * i - 2, 4 * i + 1)
        local held = counter(key)
        if kind == 'rate' then
          local owed = math.max(tonumber(held) - now, 0)
          ahead[i] = owed > tonumber(bound)
          held = string.format('%.0f', math.min(owed, tonumber(bound)))
        end
        if take ~= '0' and above(held, room) then reply[1] = 0 end
        reply[i + 1] = held
      end
      for i, key in ipairs(KEYS) do
        local kind, _, take, bound = unpack(ARGV, 4 * i - 2, 4 * i + 1)
        if kind == 'rate' and (reply[1] == 1 or ahead[i]) then
          -- Also without taking: a clock that was set back would else lock callers out until it has caught up.
          local owed = tonumber(reply[i + 1]) + take * reply[1]
          reply[i + 1] = string.format('%.0f', owed)
          redis.call('SET', key, string.format('%.0f', now + owed), 'PX', math.ceil(owed / 1000))
        elseif kind == 'total' and reply[1] == 1 and take ~= '0' then
          redis.call('INCRBY', key, take)
          if redis.call('PTTL', key) < tonumber(bound) then redis.call('PEXPIRE', key, bound) end
          reply[i + 1] = redis.call('GET', key)
        end
      end
      return reply`,
  },
  // counter …; what each gets back. What is gone stays gone, and the rest keeps its lifetime.
  leasegateGiveBack: {
    lua: `${compareDecimals} ${readCounter}
      local held = {}
      for i, key in ipairs(KEYS) do held[i] = counter(key) end
      for i, key in ipairs(KEYS) do
        if above(held[i], ARGV[i]) then redis.call('DECRBY', key, ARGV[i])
        elseif held[i] ~= '0' then redis.call('SET', key, '0', 'KEEPTTL') end
      end`,
  },
} as const
