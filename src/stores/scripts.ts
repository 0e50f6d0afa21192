// The Lua that runs inside Redis: each script is one atomic step, safe to repeat, and touches only the
// keys it is given (one hash tag, so one slot in a Cluster). Times come in as arguments; no script reads
// a clock.
import { type Revocation, Unavailable } from '../ports.ts'
import { decodeEntry, encodeEntry } from './view.ts'

const lastId = `
  local function lastId(stream)
    local newest = redis.call('XREVRANGE', stream, '+', '-', 'COUNT', 1)[1]
    return newest and newest[1] or '0-0'
  end`

/** Numbers stay the text they came as: Lua would print them with fourteen digits. */
const splitEntry = `
  local function split(value)
    local cutoff, expires, doc = string.match(value, '^(%S+) (%S+) (.*)$')
    if tonumber(cutoff) and tonumber(expires) then return cutoff, expires, doc end
  end`

const keepAtLeast = `
  local function keep(key, ms)
    if redis.call('PTTL', key) < tonumber(ms) then redis.call('PEXPIRE', key, ms) end
  end`

/** Name, number of keys and text, for `defineCommand`. The comment gives keys; then arguments. */
export const scripts = {
  // hash, stream; field, cutoff, expires, doc, maxlen. Later cutoff and later expiry win; the stream
  // hears of it when something changed, and each entry names the one before it.
  leasegateRevoke: {
    numberOfKeys: 2,
    lua: `${lastId} ${splitEntry}
      local cutoff, expires, doc = ARGV[2], ARGV[3], ARGV[4]
      local old = redis.call('HGET', KEYS[1], ARGV[1])
      if old then
        local c, e, d = split(old)
        if c and tonumber(c) >= tonumber(cutoff) then cutoff, doc = c, d end
        if c and tonumber(e) > tonumber(expires) then expires = e end
      end
      local value = cutoff .. ' ' .. expires .. ' ' .. doc
      if value == old then return 0 end
      local previous = lastId(KEYS[2])
      redis.call('HSET', KEYS[1], ARGV[1], value)
      redis.call('XADD', KEYS[2], 'MAXLEN', '~', ARGV[5], '*', 'previous', previous, 'entry', value)
      return 1`,
  },
  // beat, stream, hash; now in ms. The SET is the proof that this server still takes writes: one that
  // has become a replica or has lost its replicas answers reads for as long as one asks.
  leasegateProbe: {
    numberOfKeys: 3,
    lua: `${lastId}
      redis.call('SET', KEYS[1], ARGV[1])
      return { lastId(KEYS[2]), redis.call('HLEN', KEYS[3]) }`,
  },
  // hash; before, field …
  leasegatePurge: {
    numberOfKeys: 1,
    lua: `${splitEntry}
      for i = 2, #ARGV do
        local old = redis.call('HGET', KEYS[1], ARGV[i])
        local c, e = split(old or '')
        if c and tonumber(e) < tonumber(ARGV[1]) then redis.call('HDEL', KEYS[1], ARGV[i]) end
      end`,
  },
  // count; max, ttl. The new count, or 0: none left.
  leasegateSpend: {
    numberOfKeys: 1,
    lua: `${keepAtLeast}
      if tonumber(redis.call('GET', KEYS[1]) or '0') >= tonumber(ARGV[1]) then return 0 end
      local used = redis.call('INCR', KEYS[1])
      keep(KEYS[1], ARGV[2])
      return used`,
  },
  // approval; id, expires, doc, ttl. Field 'open' names the one open approval; an id that has been used
  // or replaced keeps its field, so that a repeated put cannot open it again.
  leasegateApprove: {
    numberOfKeys: 1,
    lua: `${keepAtLeast}
      local field = 'id:' .. ARGV[1]
      if redis.call('HEXISTS', KEYS[1], field) == 1 and redis.call('HGET', KEYS[1], 'open') ~= ARGV[1] then
        return 0
      end
      redis.call('HSET', KEYS[1], field, ARGV[2] .. ' ' .. ARGV[3], 'open', ARGV[1])
      keep(KEYS[1], ARGV[4])
      return 1`,
  },
  // approval; now, 1 to use it up. The open, unexpired approval, or nothing.
  leasegateApproval: {
    numberOfKeys: 1,
    lua: `
      local open = redis.call('HGET', KEYS[1], 'open')
      local value = open and redis.call('HGET', KEYS[1], 'id:' .. open)
      if not value then return false end
      local expires, doc = string.match(value, '^(%S+) (.*)$')
      if not (tonumber(expires) > tonumber(ARGV[1])) then return false end
      if ARGV[2] == '1' then redis.call('HDEL', KEYS[1], 'open') end
      return doc`,
  },
  // record, index …; doc, issued, id, ttl, oldest
  leasegateLease: {
    numberOfKeys: 5,
    lua: `${keepAtLeast}
      redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[4])
      for i = 2, #KEYS do
        redis.call('ZADD', KEYS[i], ARGV[2], ARGV[3])
        redis.call('ZREMRANGEBYSCORE', KEYS[i], '-inf', '(' .. ARGV[5])
        keep(KEYS[i], ARGV[4])
      end`,
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
} as const satisfies Record<string, { numberOfKeys: number; lua: string }>

/** A script by its name. */
export type Script = keyof typeof scripts

/** The scripts as methods of a connection: keys first, then arguments. */
export type Scripts = Record<Script, (...args: (string | number | Buffer)[]) => Promise<unknown>>

/** The arguments of `leasegateRevoke` for one entry, without the field; `RangeError` as in `encodeEntry`. */
export function revokeArguments(entry: Revocation): [cutoff: string, expires: string, doc: string] {
  const doc = encodeEntry(entry)
  return [String(entry.cutoff), String(entry.expiresAt), doc]
}

/** Reads what `leasegateRevoke` keeps. Throws `Unavailable` for anything else. */
export function decodeValue(value: string): Revocation {
  const [, cutoff, expires, doc] = /^(\S+) (\S+) (.*)$/s.exec(value) ?? []
  if (doc === undefined || !isTime(cutoff) || !isTime(expires)) {
    throw new Unavailable('a stored revocation is malformed')
  }
  return { ...decodeEntry(doc), cutoff: Number(cutoff), expiresAt: Number(expires) }
}

function isTime(text: string | undefined): boolean {
  return Number.isFinite(Number(text))
}
