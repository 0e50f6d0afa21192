// In: a few Redis commands. Out: the lease port on them; redis.ts lists the keys. A change is made from the
// record that was read, and only if that still stands: otherwise it is read and made again. It never sees a
// connection: redis.ts does.
import {
  type LeaseFilter,
  type LeasePlace,
  type LeaseRecord,
  type Leases,
  type LeaseUsage,
  storedStates,
} from '../ports.ts'
import { decodeLease, decodeUsage, renewed, taskOf, transitioned, usageName } from './kept_leases.ts'
import { type Commands, changed, type KeyName, lifetimeMs } from './keyed.ts'
import { leaseKeepSeconds } from './lifetimes.ts'

/** Lists reach this far back: as long as records are kept after the lease, and as much for the lease. */
const indexSeconds = 2 * leaseKeepSeconds
const page = 200

/** Leases; a `task` filter is written `system:id`, as in revocations. */
export function keyedLeases(redis: Commands, key: KeyName, now: () => number): Leases {
  const leaseKey = (id: string) => key('lease', id)
  const stateKey = (state: string) => key('leases', 'state', state)
  const noteIssue = (at: number) => redis.run('leasegateIssued', key('issued'), at * 1000)
  const change = <T>(id: string, step: (record: LeaseRecord | undefined) => Step<T>): Promise<T> =>
    changed(redis, leaseKey(id), (text) => {
      const record = text === null ? undefined : decodeLease(text)
      const { result, next } = step(record)
      if (record === undefined || next === undefined) return { result }
      const indexes = [stateKey(record.state), stateKey(next.state)]
      return { result, write: { text: JSON.stringify(next), indexes, member: id, score: next.issuedAt } }
    })
  return {
    async put(record) {
      const nowSeconds = now() / 1000
      const ttlMs = lifetimeMs(record.maxExpiresAt + leaseKeepSeconds, nowSeconds)
      const { id, issuedAt, state, login, user } = record
      const left = storedStates.filter((each) => each !== state).map(stateKey)
      const keys = [leaseKey(id), ...left, ...indexesOf(record, key)]
      const oldest = nowSeconds - indexSeconds
      const writes = [
        noteIssue(issuedAt),
        redis.run('leasegateLease', ...keys, JSON.stringify(record), issuedAt, id, ttlMs, oldest),
      ]
      if (login !== undefined) {
        const until = record.maxExpiresAt + leaseKeepSeconds
        writes.push(redis.run('leasegateLogin', loginKey(key, login), user, until, nowSeconds, ttlMs))
      }
      await Promise.all(writes)
    },
    async get(id) {
      const text = await redis.get(leaseKey(id))
      return text === null ? undefined : decodeLease(text)
    },
    async renew(id, { issuedAt, expiresAt }) {
      await noteIssue(issuedAt)
      return change(id, (record) => {
        const next = renewed(record, expiresAt)
        return { result: next, next }
      })
    },
    transition: (id, asked) =>
      change(id, (record) => {
        const result = transitioned(record, asked)
        return { result, next: result.outcome === 'changed' ? result.record : undefined }
      }),
    list: (filter) => listLeases(redis, key, filter),
    async addUsage(uses) {
      if (uses.length === 0) return
      const keys = uses.flatMap((use) => [leaseKey(use.id), key('usage', usageName(use))])
      await redis.run('leasegateUse', keys.length, ...keys, ...uses.flatMap(useArguments))
    },
    async usage(lease) {
      return usageFrom(await redis.hash(key('usage', usageName(lease))))
    },
    usersOf: (login) => redis.above(loginKey(key, login), now() / 1000),
  }
}

/** What comes of a record, and what it answers. */
interface Step<T> {
  readonly result: T
  /** Undefined: it stays as it is. */
  readonly next: LeaseRecord | undefined
}

function loginKey(key: KeyName, { issuer, subject }: NonNullable<LeaseRecord['login']>): string {
  // Both may hold colons: only together with their limits they name one login.
  return key('login', JSON.stringify([issuer, subject]))
}

/** What a filter can name of a record. */
function filedUnder(record: LeaseRecord) {
  const { agent, user, session, tenant, state } = record
  return { agent, user, task: taskOf(record), session, tenant, state }
}

function indexesOf(record: LeaseRecord, key: KeyName): string[] {
  const values = Object.entries(filedUnder(record))
  return [key('leases'), ...values.map(([kind, value]) => key('leases', kind, value))]
}

async function listLeases(redis: Commands, key: KeyName, filter: LeaseFilter): Promise<LeaseRecord[]> {
  const { limit, liveAt = 0, before } = filter
  const index = narrowest(filter, key)
  const found: LeaseRecord[] = []
  for (let start = 0; found.length < limit; start += page) {
    const ids = await redis.newest(index, before?.issuedAt, start, page)
    if (ids.length === 0) break
    for (const text of await redis.mget(ids.map((id) => key('lease', id)))) {
      const record = text === null ? undefined : decodeLease(text)
      const lives = record !== undefined && record.maxExpiresAt > liveAt && isAfter(record, before)
      if (lives && matches(record, filter)) found.push(record)
    }
  }
  return found.slice(0, Math.max(0, Math.floor(limit)))
}

/** Whether a lease comes after a place, newest first. */
function isAfter({ issuedAt, id }: LeasePlace, place: LeasePlace | undefined): boolean {
  if (place === undefined || issuedAt < place.issuedAt) return true
  // Redis orders members of one score by their bytes, which for ids are their characters.
  return issuedAt === place.issuedAt && id < place.id
}

/** The index that is likely to hold the fewest leases: most are `active`, and often of one tenant. */
function narrowest(filter: LeaseFilter, key: KeyName): string {
  const last = filter.state === 'active' ? (['tenant', 'state'] as const) : (['state', 'tenant'] as const)
  for (const kind of ['session', 'task', 'user', 'agent', ...last] as const) {
    const value = filter[kind]
    if (value !== undefined) return key('leases', kind, value)
  }
  return key('leases')
}

function matches(record: LeaseRecord, filter: LeaseFilter): boolean {
  const values = filedUnder(record)
  const kinds = Object.keys(values) as (keyof typeof values)[]
  return kinds.every((kind) => filter[kind] === undefined || filter[kind] === values[kind])
}

/** For `leasegateUse`: how many fields are added to, those, and when it was used last. */
function useArguments(use: LeaseUsage): (string | number)[] {
  const { calls, refusals, bytesIn, bytesOut, verbs, lastUsedAt } = use
  const counts = { calls, refusals, bytesIn, bytesOut }
  const ofVerbs = Object.entries(verbs).map(([verb, count]) => [verbField + verb, count] as const)
  const fields = [...Object.entries(counts), ...ofVerbs]
  return [fields.length, ...fields.flat(), lastUsedAt]
}

const verbField = 'verb:'

function usageFrom(hash: Record<string, string>): LeaseUsage | undefined {
  const fields = Object.entries(hash)
  if (fields.length === 0) return undefined
  const plain = fields.filter(([name]) => !name.startsWith(verbField))
  const verbs = fields
    .filter(([name]) => name.startsWith(verbField))
    .map(([name, count]) => [name.slice(verbField.length), Number(count)] as const)
  const counts = Object.fromEntries(plain.map(([name, value]) => [name, Number(value)]))
  return decodeUsage(JSON.stringify({ ...counts, verbs: Object.fromEntries(verbs) }))
}
