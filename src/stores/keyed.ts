// In: a few Redis commands. Out: the lease, budget, approval and replay ports on them; redis.ts lists the
// keys. What must not happen twice is one command or one script. Lifetimes are relative to the caller's
// clock, with `keepSeconds` to spare. It never sees a connection: redis.ts does.
import {
  type Approval,
  type Approvals,
  type Budgets,
  type LeaseRecord,
  type Leases,
  type Replay,
  Unavailable,
} from '../ports.ts'
import { keepSeconds, leaseKeepSeconds } from './lifetimes.ts'
import type { Script } from './scripts.ts'

/** What these ports ask of Redis. Every call settles in time or throws `Unavailable`. */
export interface Commands {
  get(key: string): Promise<string | null>
  mget(keys: string[]): Promise<(string | null)[]>
  /** Members of a sorted set from the highest score, both ranks included. */
  newest(key: string, start: number, stop: number): Promise<string[]>
  /** `false`: the key exists. */
  setIfAbsent(key: string, value: string, ttlMs: number): Promise<boolean>
  run(script: Script, ...args: (string | number)[]): Promise<unknown>
}

/** Builds a key under the store's prefix. */
export type KeyName = (...parts: string[]) => string

/** Lists reach this far back: as long as records are kept after the lease, and as much for the lease. */
const indexSeconds = 2 * leaseKeepSeconds
const page = 200

/** Leases; a `task` filter is written `system:id`, as in revocations. */
export function keyedLeases(redis: Commands, key: KeyName, now: () => number): Leases {
  const indexes = (record: LeaseRecord) => [
    key('leases'),
    key('leases', 'agent', record.agent),
    key('leases', 'user', record.user),
    key('leases', 'task', taskOf(record)),
  ]
  return {
    async put(record) {
      const nowSeconds = now() / 1000
      const ttlMs = lifetimeMs(record.maxExpiresAt + leaseKeepSeconds, nowSeconds)
      const { id, issuedAt } = record
      const keys = [key('lease', id), ...indexes(record)]
      const oldest = nowSeconds - indexSeconds
      await redis.run('leasegateLease', ...keys, JSON.stringify(record), issuedAt, id, ttlMs, oldest)
    },
    async get(id) {
      return parse<LeaseRecord>(await redis.get(key('lease', id)))
    },
    async list({ agent, user, task, liveAt = 0, limit }) {
      const index =
        agent !== undefined
          ? key('leases', 'agent', agent)
          : user !== undefined
            ? key('leases', 'user', user)
            : task !== undefined
              ? key('leases', 'task', task)
              : key('leases')
      const found: LeaseRecord[] = []
      for (let start = 0; found.length < limit; start += page) {
        const ids = await redis.newest(index, start, start + page - 1)
        if (ids.length === 0) break
        const records = await redis.mget(ids.map((id) => key('lease', id)))
        for (const record of records.map((text) => parse<LeaseRecord>(text))) {
          if (record === undefined || !(record.maxExpiresAt > liveAt)) continue
          if (matches(record, { agent, user, task })) found.push(record)
        }
      }
      return found.slice(0, Math.max(0, Math.floor(limit)))
    },
    renew: notYet,
    transition: notYet,
    addUsage: notYet,
    usage: notYet,
    usersOf: notYet,
  }
}

/** Stands in until the port is kept in Redis too. */
export async function notYet(): Promise<never> {
  throw new Unavailable('not kept in Redis yet')
}

function matches(
  record: LeaseRecord,
  filter: Record<'agent' | 'user' | 'task', string | undefined>,
): boolean {
  const { agent = record.agent, user = record.user, task = taskOf(record) } = filter
  return agent === record.agent && user === record.user && task === taskOf(record)
}

function taskOf(record: LeaseRecord): string {
  return `${record.task.system}:${record.task.id}`
}

/** Budgets: one script decides and spends. A reply lost on the way costs a call, never grants one. */
export function keyedBudgets(redis: Commands, key: KeyName, now: () => number): Budgets {
  return {
    async spend(name, max, expiresAt) {
      const ttlMs = lifetimeMs(expiresAt + keepSeconds, now() / 1000)
      const whole = Math.floor(max)
      // Also refuses a count that would be forgotten at once, and every NaN.
      if (!(whole >= 1) || !(ttlMs > 0)) return { spent: false, left: 0 }
      const used = Number(await redis.run('leasegateSpend', key('budget', name), whole, ttlMs))
      return used === 0 ? { spent: false, left: 0 } : { spent: true, left: whole - used }
    },
  }
}

/** Approvals: a fingerprint has at most one open approval, the newest. */
export function keyedApprovals(redis: Commands, key: KeyName, now: () => number): Approvals {
  const open = (fingerprint: string, at: number, use: 0 | 1) =>
    redis.run('leasegateApproval', key('approval', fingerprint), at, use) as Promise<string | null>
  return {
    async put(approval) {
      const { fingerprint, id, expiresAt } = approval
      const ttlMs = lifetimeMs(expiresAt + keepSeconds, now() / 1000)
      if (!(ttlMs > 0)) return
      const text = JSON.stringify(approval)
      await redis.run('leasegateApprove', key('approval', fingerprint), id, expiresAt, text, ttlMs)
    },
    async find(fingerprint, at) {
      return parse<Approval>(await open(fingerprint, at, 0))
    },
    async use(fingerprint, at) {
      return (await open(fingerprint, at, 1)) !== null
    },
  }
}

/** Used ids. One that has expired is refused: it could no longer be remembered. */
export function keyedReplay(redis: Commands, key: KeyName): Replay {
  return {
    async use(id, expiresAt, now) {
      if (!(expiresAt > now)) return false
      return redis.setIfAbsent(key('replay', id), '1', lifetimeMs(expiresAt + keepSeconds, now))
    },
  }
}

/** Whole milliseconds from `now` to `until` (both seconds). */
function lifetimeMs(until: number, now: number): number {
  return Math.ceil((until - now) * 1000)
}

function parse<T>(text: string | null): T | undefined {
  return text === null ? undefined : (JSON.parse(text) as T)
}
