// Token status lists (draft-ietf-oauth-status-list) of this broker's own leases. In: the store, the time. Out: a
// place for a new lease, and the content of each list. Lists end: one holds the leases that end within one hour.
// Never calls a lease VALID that it could not look at: where that is in doubt, `Unavailable`.
import { randomInt } from 'node:crypto'
import { promisify } from 'node:util'
import { deflate } from 'node:zlib'
import type { StatusReference } from '../lease/claims.ts'
import { maxLeaseSeconds } from '../lease/lease.ts'
import { type LeaseRecord, type Replay, type Revocations, type Store, Unavailable } from '../ports.ts'
import { leaseState } from './lease_state.ts'

/** Values of a status (draft-ietf-oauth-status-list §7.1). */
export const statuses = { valid: 0, invalid: 1, suspended: 2 } as const
type Status = (typeof statuses)[keyof typeof statuses]

/** What a recorded lease is worth at `now`, as a status. Only an active one is valid. */
export function leaseStatus(record: LeaseRecord, revocations: Revocations, now: number): Status {
  const { state } = leaseState(record, revocations, now)
  if (state !== 'active' && state !== 'suspended') return statuses.invalid
  const held = state === 'suspended' || revocations.suspension(record) !== undefined
  return held ? statuses.suspended : statuses.valid
}

/** Leases that one list has room for. */
export const listSize = 1 << 17
const bits = 2
/** A list holds the leases that end within one of these, seconds. */
const windowSeconds = 3600
/** A process takes places by the class: those that are equal modulo `classes`. One write to the store for each. */
const classes = 512
const classSize = listSize / classes
/** More live leases would hold up everything else in the process for too long while they are read. */
const defaultMaxLiveLeases = 100_000

/** Number of the list that holds a lease which ends then. */
function listOf(maxExpiresAt: number): number {
  return Math.ceil(maxExpiresAt / windowSeconds)
}

/** Where the status of a recorded lease stands, for its further tokens; undefined: it has none. */
export function statusOf(record: LeaseRecord, issuer: string): StatusReference | undefined {
  const { statusIndex: idx, maxExpiresAt } = record
  return idx === undefined ? undefined : { uri: uriOf(issuer, listOf(maxExpiresAt)), idx }
}

/** `sub` of a list, and where it is served. */
export function uriOf(issuer: string, list: number): string {
  return `${issuer.replace(/\/$/, '')}/statuslists/${list}`
}

export interface StatusPlaces {
  /**
   * A place for a lease that ends at `maxExpiresAt`: random among 256 that this process took at once, spread over
   * the list. No two leases ever share one. Throws `Unavailable` when the list of that hour is full.
   */
  statusFor(now: number, maxExpiresAt: number): Promise<StatusReference>
}

/** Hands out places; `replay` sees to it that no other process hands out the same. */
export function createStatusPlaces({
  replay,
  issuer,
}: {
  readonly replay: Replay
  readonly issuer: string
}): StatusPlaces {
  const free = new Map<number, number[]>()
  const full = new Set<number>()
  const claiming = new Map<number, Promise<void>>()

  function take(list: number): number | undefined {
    const places = free.get(list)
    if (places === undefined || places.length === 0) return undefined
    const at = randomInt(places.length)
    const idx = places[at]
    places[at] = places[places.length - 1]!
    places.pop()
    return idx
  }

  /** From a random class on, the first one that nobody has. */
  async function claim(list: number, now: number): Promise<void> {
    forget(free.keys(), now)
    forget(full, now)
    const first = randomInt(classes)
    for (let step = 0; step < classes && !full.has(list); step++) {
      const rest = (first + step) % classes
      if (!(await replay.use(`status_list:${list}:${rest}`, list * windowSeconds, now))) continue
      const places = Array.from({ length: classSize }, (_, at) => at * classes + rest)
      free.set(list, places)
      return
    }
    full.add(list)
    throw new Unavailable('the status list of that hour has no place left')
  }

  /** Whoever asks at the same time shares one class. */
  function claimOnce(list: number, now: number): Promise<void> {
    let claimed = claiming.get(list)
    if (claimed === undefined) {
      claimed = claim(list, now).finally(() => claiming.delete(list))
      claiming.set(list, claimed)
    }
    return claimed
  }

  /** Of lists that have ended. */
  function forget(lists: Iterable<number>, now: number): void {
    for (const list of lists) {
      if (list * windowSeconds > now) continue
      free.delete(list)
      full.delete(list)
    }
  }

  return {
    async statusFor(now, maxExpiresAt) {
      const list = listOf(maxExpiresAt)
      for (;;) {
        const idx = take(list)
        if (idx !== undefined) return { uri: uriOf(issuer, list), idx }
        await claimOnce(list, now)
      }
    },
  }
}

/** `status_list` of a status list token. */
export interface ListContent {
  readonly bits: typeof bits
  /** base64url of the compressed list. */
  readonly lst: string
}

export interface StatusContents {
  /**
   * The list of that number at `now`, the same object as long as nothing was looked at anew. Undefined: there is no
   * such list, or no more. Throws `Unavailable`.
   */
  contentOf(list: number, now: number): Promise<ListContent | undefined>
  close(): void
}

export interface StatusContentOptions {
  readonly store: Pick<Store, 'leases' | 'revocations'>
  /** Beyond this age of the revocation view there is no content. */
  readonly maxStalenessMs: number
  /** Live leases that one look reads at most; with more there is no content. Default 100,000. */
  readonly maxLiveLeases?: number
  /** A look at the store is good for so long, unless something is revoked. */
  readonly ttlSeconds: number
}

/** After a revocation the store is looked at again, but not more often than this, seconds. */
const lookSeconds = 1

/** What one look at the store found. */
interface Look {
  readonly at: number
  /** Revocations heard of before it. */
  readonly heard: number
  /** Leases that are not valid, by list and place. */
  readonly marked: ReadonlyMap<number, ReadonlyMap<number, Status>>
  /** Lists that have been asked for since. */
  readonly made: Map<number, Promise<ListContent>>
}

const compress = promisify(deflate)

/**
 * Content of the lists. All come from one look at the live leases of the store, which is shared until `ttlSeconds`
 * are over or something has been revoked.
 */
export function createStatusContents({
  store,
  maxStalenessMs,
  ttlSeconds,
  maxLiveLeases = defaultMaxLiveLeases,
}: StatusContentOptions): StatusContents {
  const { leases, revocations } = store
  let heard = 0
  let last: Look | undefined
  let looking: Promise<Look> | undefined
  const unwatch = revocations.watch(() => {
    heard++
  })

  async function look(now: number): Promise<Look> {
    const before = heard
    const records = await leases.list({ liveAt: now, limit: maxLiveLeases + 1 })
    if (records.length > maxLiveLeases)
      throw new Unavailable('more live leases than status lists are made of')
    const marked = new Map<number, Map<number, Status>>()
    for (const record of records) {
      const status = leaseStatus(record, revocations, now)
      if (record.statusIndex === undefined || status === statuses.valid) continue
      const list = listOf(record.maxExpiresAt)
      marked.set(list, (marked.get(list) ?? new Map()).set(record.statusIndex, status))
    }
    last = { at: now, heard: before, marked, made: new Map() }
    return last
  }

  function current(now: number): Look | Promise<Look> {
    const age = last === undefined ? Number.POSITIVE_INFINITY : now - last.at
    const isCurrent = age >= 0 && age < (last?.heard === heard ? ttlSeconds : lookSeconds)
    if (last !== undefined && isCurrent) return last
    looking ??= look(now).finally(() => {
      looking = undefined
    })
    return looking
  }

  return {
    async contentOf(list, now) {
      if (!(list * windowSeconds > now) || list > listOf(now + maxLeaseSeconds)) return undefined
      if (!(revocations.ageMs(now * 1000) <= maxStalenessMs))
        throw new Unavailable('the revocation view is stale')
      const { marked, made } = await current(now)
      const known = made.get(list)
      if (known !== undefined) return known
      const content = makeContent(marked.get(list) ?? new Map())
      made.set(list, content)
      return content
    },
    close: unwatch,
  }
}

async function makeContent(marked: ReadonlyMap<number, Status>): Promise<ListContent> {
  return { bits, lst: (await compress(pack(marked))).toString('base64url') }
}

/** From the lowest bit of each byte upwards (§4.1). */
function pack(marked: ReadonlyMap<number, Status>): Uint8Array {
  const perByte = 8 / bits
  const bytes = new Uint8Array(listSize / perByte)
  for (const [idx, status] of marked) {
    const byte = Math.floor(idx / perByte)
    bytes[byte] = bytes[byte]! | (status << ((idx % perByte) * bits))
  }
  return bytes
}
