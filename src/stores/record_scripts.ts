// The Lua of records: all writes of one call, or none. As the rest in scripts.ts.

/** Joined into `scripts`. */
export const recordScripts = {
  // of each write: record, then members and expiries of each list left and of each list entered; arguments of each:
  // lists left, lists entered, id, expected version, 1 to keep it or 0, text, lists, at, expires, ttl, before.
  // What could fail does so before anything is written: Redis takes nothing back. Two that were over before `before`
  // leave a list for each that enters, so that no call pays for all.
  leasegateRecords: {
    lua: `
      local function each(visit)
        local k, a = 1, 1
        while k <= #KEYS do
          local last = k + 2 * (ARGV[a] + ARGV[a + 1])
          if visit(k, a, last) == false then return false end
          k, a = last + 1, a + 11
        end
        return true
      end
      local stands = each(function(k, a, last)
        for i = k + 1, last do redis.call('ZCARD', KEYS[i]) end
        if (redis.call('HGET', KEYS[k], 'version') or '0') ~= ARGV[a + 3] then return false end
      end)
      if not stands then return 0 end
      each(function(k, a, last)
        local id, left = ARGV[a + 2], k + 2 * ARGV[a]
        for i = k + 1, left do redis.call('ZREM', KEYS[i], id) end
        if ARGV[a + 4] == '0' then
          redis.call('UNLINK', KEYS[k])
          return
        end
        redis.call('HSET', KEYS[k], 'version', ARGV[a + 3] + 1, 'text', ARGV[a + 5], 'lists', ARGV[a + 6])
        redis.call('PEXPIRE', KEYS[k], ARGV[a + 9])
        for i = left + 1, last, 2 do
          local over = redis.call('ZRANGE', KEYS[i + 1], '-inf', '(' .. ARGV[a + 10], 'BYSCORE', 'LIMIT', 0, 2)
          if #over > 0 then
            redis.call('ZREM', KEYS[i], unpack(over))
            redis.call('ZREM', KEYS[i + 1], unpack(over))
          end
          redis.call('ZADD', KEYS[i], ARGV[a + 7], id)
          redis.call('ZADD', KEYS[i + 1], ARGV[a + 8], id)
          for _, list in ipairs({ KEYS[i], KEYS[i + 1] }) do
            if redis.call('PTTL', list) < tonumber(ARGV[a + 9]) then
              redis.call('PEXPIRE', list, ARGV[a + 9])
            end
          end
        end
      end)
      return 1`,
  },
} as const
