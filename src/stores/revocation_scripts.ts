// In: entries of revocations, and the hash and the stream that all gates share. Out: the Lua that writes one, tells
// how far they are and deletes what is over, and the text that it keeps. It never weakens an entry.
import { Unavailable } from '../ports.ts'
import { decodeEntry, type Entry, encodeEntry, isSuspension, rankOf } from './entry.ts'

const lastId = `
  local function lastId(stream)
    local newest = redis.call('XREVRANGE', stream, '+', '-', 'COUNT', 1)[1]
    return newest and newest[1] or '0-0'
  end`

/**
 * A server whose clock is behind its stream counts on from the last id, and so does the one that takes its place
 * with less of the stream: with steps of one, the same ids would stand for other entries there. `step` is random.
 */
const nextId = `
  local function nextId(last, step)
    local time = redis.call('TIME')
    local now = time[1] * 1000 + math.floor(time[2] / 1000)
    local ms, sequence = string.match(last, '^(%d+)-(%d+)$')
    if now > tonumber(ms) then return string.format('%.0f-%s', now, step) end
    return string.format('%s-%.0f', ms, sequence + step)
  end`

const runId = `
  local function runId()
    return string.match(redis.call('INFO', 'server'), 'run_id:(%x+)')
  end`

const clock = `
  local function clock()
    local time = redis.call('TIME')
    return time[1] * 1000 + math.floor(time[2] / 1000)
  end`

/** Numbers stay the text they came as: Lua would print them with fourteen digits. */
const splitEntry = `
  local function split(value)
    local rank, expires, doc = string.match(value, '^(%S+) (%S+) (.*)$')
    if tonumber(rank) and tonumber(expires) then return rank, expires, doc end
  end`

/** As `scripts` (scripts.ts) has them. */
export const revocationScripts = {
  // hash, stream; field, rank (entry.ts), expires, doc, maxlen, step, 1 to announce it in any case. Higher rank
  // and later expiry win; the stream hears of it when something changed, and each entry names the one before it.
  // The id in the stream, or nothing. WAIT covers what a connection has written: so an announcement repeats.
  leasegateRevoke: {
    numberOfKeys: 2,
    lua: `${lastId} ${nextId} ${splitEntry}
      local rank, expires, doc = ARGV[2], ARGV[3], ARGV[4]
      local old = redis.call('HGET', KEYS[1], ARGV[1])
      if old then
        local c, e, d = split(old)
        if c and tonumber(c) >= tonumber(rank) then rank, doc = c, d end
        if c and tonumber(e) > tonumber(expires) then expires = e end
      end
      local value = rank .. ' ' .. expires .. ' ' .. doc
      if value == old and ARGV[7] ~= '1' then return false end
      local previous = lastId(KEYS[2])
      redis.call('HSET', KEYS[1], ARGV[1], value)
      return redis.call('XADD', KEYS[2], 'MAXLEN', '~', ARGV[5], nextId(previous, ARGV[6]),
        'previous', previous, 'key', ARGV[1], 'entry', value)`,
  },
  // beat, stream, hash; now in ms. The SET is the proof that this server still takes writes: one that
  // has become a replica or has lost its replicas answers reads for as long as one asks.
  leasegateProbe: {
    numberOfKeys: 3,
    lua: `${lastId} ${clock}
      redis.call('SET', KEYS[1], ARGV[1])
      return { lastId(KEYS[2]), redis.call('HLEN', KEYS[3]), clock() }`,
  },
  // issued. Milliseconds since 1970: the time here, or of the newest token where that is later.
  leasegateNow: {
    numberOfKeys: 1,
    lua: `${clock}
      return math.max(clock(), tonumber(redis.call('GET', KEYS[1]) or '0'))`,
  },
  // issued; when a token was issued, in ms.
  leasegateIssued: {
    numberOfKeys: 1,
    lua: `
      if tonumber(ARGV[1]) > tonumber(redis.call('GET', KEYS[1]) or '0') then
        redis.call('SET', KEYS[1], ARGV[1])
      end`,
  },
  // hash. Names the process that answers for it: a cursor of HSCAN means something else to every other.
  leasegateServer: {
    numberOfKeys: 1,
    lua: `${runId} return runId()`,
  },
  // born. Milliseconds since the first call on this server as it is, by its own clock: one that was started anew or
  // has taken over from another may have lost entries, so it begins at 0. Each changes one of two ids.
  leasegateBorn: {
    numberOfKeys: 1,
    lua: `${runId} ${clock}
      local now = clock()
      local id = runId() .. (string.match(redis.call('INFO', 'replication'), 'master_replid:(%x+)') or '')
      local known, since = string.match(redis.call('GET', KEYS[1]) or '', '^(%x+) (%d+)$')
      if known == id then return now - since end
      redis.call('SET', KEYS[1], string.format('%s %.0f', id, now))
      return 0`,
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
} as const

/** The arguments of `leasegateRevoke` for one entry, without the field; `RangeError` as in `encodeEntry`. */
export function revokeArguments(entry: Entry): [rank: string, expires: string, doc: string] {
  const doc = encodeEntry(entry)
  return [String(rankOf(entry)), String(entry.expiresAt), doc]
}

/** Reads what `leasegateRevoke` keeps. Throws `Unavailable` for anything else. */
export function decodeValue(value: string): Entry {
  const [front, rank, expires] = /^(\S+) (\S+) /.exec(value) ?? []
  if (front === undefined || !isTime(rank) || !isTime(expires)) {
    throw new Unavailable('a stored revocation is malformed')
  }
  const entry = decodeEntry(value.slice(front.length))
  const expiresAt = Number(expires)
  if (!isSuspension(entry)) return { ...entry, cutoff: Number(rank), expiresAt }
  if (rankOf(entry) !== Number(rank)) throw new Unavailable('a stored suspension is malformed')
  return { ...entry, expiresAt }
}

function isTime(text: string | undefined): boolean {
  return Number.isFinite(Number(text))
}
