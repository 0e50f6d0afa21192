// In: a connection to a Redis. Out: nothing, or `Unavailable` that names what has to be changed: a right that the
// user lacks, a memory policy that would drop revocations. It leaves every key as it was.
import { Unavailable } from '../ports.ts'
import { answer, reason } from './redis_answer.ts'
import type { Connection } from './redis_connect.ts'
import { scripts } from './scripts.ts'

/** What the store sends beside its scripts; `cluster|slots`, `wait` and `waitaof` only where they are asked for. */
const direct = [
  ...['eval', 'evalsha', 'info', 'ping'],
  ...[
    'get',
    'getrange',
    'hgetall',
    'hmget',
    'hscan',
    'lrange',
    'mget',
    'xread',
    'zrangebyscore',
    'zrevrange',
  ],
]

/** Every command that the store's user has to be allowed, in lower case. */
export function neededCommands(): string[] {
  const lua = Object.values(scripts).map((script) => script.lua)
  const run = [...lua.join('\n').matchAll(/redis\.p?call\('([A-Z]+)'/g)].map(([, name]) =>
    name!.toLowerCase(),
  )
  return [...new Set([...direct, ...run])].toSorted()
}

/** Tried by themselves: no script may run them. */
const unscripted = new Set(['eval', 'evalsha', 'info', 'ping'])

/** How many arguments follow the key, in a call that a string makes harmless. */
const following: Readonly<Record<string, number>> = {
  ...{ exists: 0, get: 0, hgetall: 0, hlen: 0, incr: 0, mget: 0, pttl: 0, unlink: 0, zcard: 0 },
  ...{ decrby: 1, hdel: 1, hget: 1, hmget: 1, hscan: 1, incrby: 1, lindex: 1, lpush: 1 },
  ...{ pexpire: 1, set: 1, zrem: 1, zscore: 1 },
  ...{ getrange: 2, hincrby: 2, hset: 2, lrange: 2, ltrim: 2, xrevrange: 2, zadd: 2, zrange: 2 },
  ...{ zrangebyscore: 2, zremrangebyscore: 2, zrevrange: 2, xadd: 3 },
}

/** A call of `name` that changes nothing but the key `key`; undefined: it needs to be written down above. */
export function harmlessCall(name: string, key: string): string[] | undefined {
  if (name === 'time') return [name]
  if (name === 'xread') return [name, 'STREAMS', key, '9']
  const count = following[name]
  return count === undefined ? undefined : [name, key, ...Array<string>(count).fill('9')]
}

/** Gives those of the calls that the user may not make; what a call says beside that is of no interest. */
const denied = `
  local denied = {}
  for _, call in ipairs(cjson.decode(ARGV[1])) do
    redis.pcall('SET', KEYS[1], 'text')
    local reply = redis.pcall(unpack(call))
    local fault = type(reply) == 'table' and reply.err or ''
    if string.find(fault, "can't run this command", 1, true) or string.find(fault, 'no permissions', 1, true) then
      denied[#denied + 1] = call[1]
    end
  end
  redis.pcall('UNLINK', KEYS[1])
  return denied`

/** Rejects where the user may not do all that the store does, and names what is missing. */
export async function checkRights(commands: Connection, key: string): Promise<void> {
  const calls = neededCommands()
    .filter((name) => !unscripted.has(name))
    .map((name) => harmlessCall(name, key))
  try {
    await commands.ping()
    await commands.info('memory')
    const missing = (await commands.eval(denied, 1, key, JSON.stringify(calls))) as string[]
    if (missing.length > 0) throw new Unavailable(`NOPERM: the user may not run ${missing.join(', ')}`)
    // Any digest will do: only whether it may be asked for.
    await commands.call('EVALSHA', '0'.repeat(40), 1, key).catch(unlessMissing)
  } catch (error) {
    const why = reason(error)
    throw new Unavailable(
      why === 'NOPERM' ? `NOPERM: the user may not use the keys ${key.replace(/check$/, '*')}` : why,
    )
  }
}

function unlessMissing(error: unknown): void {
  if (reason(error) !== 'NOSCRIPT') throw error
}

/** Rejects where the server would rather forget revocations than refuse a write. */
export async function checkEviction(commands: Connection): Promise<void> {
  const info = await answer(commands.info('memory'))
  const field = (name: string) => new RegExp(`^${name}:(\\S+)`, 'm').exec(info)?.[1]
  const [bound, policy] = [field('maxmemory'), field('maxmemory_policy')]
  if (bound === '0' || policy === 'noeviction') return
  if (bound !== undefined && policy !== undefined) {
    throw new Unavailable(
      `Redis would evict revocations to stay within maxmemory: set maxmemory-policy noeviction (it is ${policy})`,
    )
  }
  throw new Unavailable('Redis does not say whether it evicts: INFO memory has to tell maxmemory_policy')
}
