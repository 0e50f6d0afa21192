// The Lua that runs inside Redis: each script is one atomic step, safe to repeat, and touches only the
// keys it is given (one hash tag, so one slot in a Cluster). What a gate decides goes by times that come in as
// arguments; the clock of the server is for what all gates have to agree on.
import { budgetScripts } from './budget_scripts.ts'
import { recordScripts } from './record_scripts.ts'
import { revocationScripts } from './revocation_scripts.ts'

const keepAtLeast = `
  local function keep(key, ms)
    if redis.call('PTTL', key) < tonumber(ms) then redis.call('PEXPIRE', key, ms) end
  end`

/**
 * Name, number of keys and text, for `defineCommand`. The comment gives keys; then arguments. Without a number
 * of keys, the caller passes it first.
 */
export const scripts = {
  ...revocationScripts,
  ...budgetScripts,
  ...recordScripts,
  // record, the states that it is not in (3), index … (7); doc, issued, id, ttl, oldest
  leasegateLease: {
    numberOfKeys: 11,
    lua: `${keepAtLeast}
      redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[4])
      for i = 2, 4 do redis.call('ZREM', KEYS[i], ARGV[3]) end
      for i = 5, #KEYS do
        redis.call('ZADD', KEYS[i], ARGV[2], ARGV[3])
        redis.call('ZREMRANGEBYSCORE', KEYS[i], '-inf', '(' .. ARGV[5])
        keep(KEYS[i], ARGV[4])
      end`,
  },
  // login; user, until, now, ttl
  leasegateLogin: {
    numberOfKeys: 1,
    lua: `${keepAtLeast}
      redis.call('ZADD', KEYS[1], 'GT', ARGV[2], ARGV[1])
      redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', '(' .. ARGV[3])
      keep(KEYS[1], ARGV[4])`,
  },
  // text, index left, index entered (neither, one or both; they may be the same); expected, new, member,
  // score. 0: something else stands there by now, and nothing is changed.
  leasegateSwap: {
    lua: `${keepAtLeast}
      if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
      redis.call('SET', KEYS[1], ARGV[2], 'KEEPTTL')
      if KEYS[2] == KEYS[3] then return 1 end
      redis.call('ZREM', KEYS[2], ARGV[3])
      if KEYS[3] then
        redis.call('ZADD', KEYS[3], ARGV[4], ARGV[3])
        keep(KEYS[3], redis.call('PTTL', KEYS[1]))
      end
      return 1`,
  },
  // lease, usage, lease, usage …; of each: number of fields, field, count …, last use. A lease that is not
  // there is left out; its usage goes when it goes.
  leasegateUse: {
    lua: `
      local at = 1
      for i = 1, #KEYS, 2 do
        local ttl, first, last = redis.call('PTTL', KEYS[i]), at + 1, at + 2 * ARGV[at]
        at = last + 2
        if ttl > 0 then
          for f = first, last, 2 do redis.call('HINCRBY', KEYS[i + 1], ARGV[f], ARGV[f + 1]) end
          local before = tonumber(redis.call('HGET', KEYS[i + 1], 'lastUsedAt') or '0')
          if tonumber(ARGV[last + 1]) > before then
            redis.call('HSET', KEYS[i + 1], 'lastUsedAt', ARGV[last + 1])
          end
          redis.call('PEXPIRE', KEYS[i + 1], ttl)
        end
      end`,
  },
  // deferral, index; text, id, expires, ttl, oldest. One that is there stays as it is.
  leasegateDefer: {
    numberOfKeys: 2,
    lua: `${keepAtLeast}
      if not redis.call('SET', KEYS[1], ARGV[1], 'NX', 'PX', ARGV[4]) then return 0 end
      redis.call('ZADD', KEYS[2], ARGV[3], ARGV[2])
      redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', '(' .. ARGV[5])
      keep(KEYS[2], ARGV[4])
      return 1`,
  },
  // secret; a fresh one. The one that stands.
  leasegateSecret: {
    numberOfKeys: 1,
    lua: `
      redis.call('SET', KEYS[1], ARGV[1], 'NX')
      return redis.call('GET', KEYS[1])`,
  },
  // used ids by expiry; id, until, now, most, ttl. 1: it was new, 0: it was known, -1: no more fit. Two go for
  // each that comes, so that no call pays for a million.
  leasegateReplay: {
    numberOfKeys: 1,
    lua: `${keepAtLeast}
      local over = redis.call('ZRANGE', KEYS[1], '-inf', '(' .. ARGV[3], 'BYSCORE', 'LIMIT', 0, 2)
      if #over > 0 then redis.call('ZREM', KEYS[1], unpack(over)) end
      if redis.call('ZSCORE', KEYS[1], ARGV[1]) then return 0 end
      if redis.call('ZCARD', KEYS[1]) >= tonumber(ARGV[4]) then return -1 end
      redis.call('ZADD', KEYS[1], ARGV[2], ARGV[1])
      keep(KEYS[1], ARGV[5])
      return 1`,
  },
  // set, sets; digest, published, packed. 1 when the digest was new.
  leasegatePublish: {
    numberOfKeys: 2,
    lua: `
      redis.call('SET', KEYS[1], ARGV[3])
      return redis.call('HSET', KEYS[2], ARGV[1], ARGV[2])`,
  },
  // history, set; digest, expected or '', activation, length. The outcome, and an entry of the history.
  leasegateActivate: {
    numberOfKeys: 2,
    lua: `
      local head = redis.call('LINDEX', KEYS[1], 0) or ''
      local number, active = string.match(head, '^(%d+) (%S+) ')
      if head ~= '' and not number then return redis.error_reply('MALFORMED policy history') end
      if ARGV[2] ~= '' and ARGV[2] ~= active then return { 'not_expected', head } end
      if redis.call('EXISTS', KEYS[2]) == 0 then return { 'not_stored', head } end
      if ARGV[1] == active then return { 'unchanged', head } end
      local entry = string.format('%d %s %s', (number or 0) + 1, ARGV[1], ARGV[3])
      redis.call('LPUSH', KEYS[1], entry)
      redis.call('LTRIM', KEYS[1], 0, ARGV[4] - 1)
      return { 'activated', entry }`,
  },
  // history, set, sets; newest number, digest. Nothing when somebody has activated since.
  leasegateForgetSet: {
    numberOfKeys: 3,
    lua: `
      local head = redis.call('LINDEX', KEYS[1], 0) or '0 '
      if string.match(head, '^(%d+) ') ~= ARGV[1] then return 0 end
      redis.call('HDEL', KEYS[3], ARGV[2])
      return redis.call('UNLINK', KEYS[2])`,
  },
} as const satisfies Record<string, { numberOfKeys?: number; lua: string }>

/** A script by its name. */
export type Script = keyof typeof scripts

/** The scripts as methods of a connection: keys first, then arguments. */
export type Scripts = Record<Script, (...args: (string | number | Buffer)[]) => Promise<unknown>>
