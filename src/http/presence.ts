// That this process is up, for the others that share its store. In: how it is. Out: a record of kind `gate`, written
// anew every few seconds, that goes by itself when nobody writes it. A store that is away stops nothing.
import { isObject } from '../lease/text.ts'
import { type Store, Unavailable } from '../ports.ts'

/** What a process is: it enforces leases, issues them, or both. */
export type GateRole = 'gate' | 'broker' | 'both'

/** One process that is up, as it says itself. Times are seconds since 1970 by the clock of the store. */
export interface GateStatus {
  readonly id: string
  readonly host: string
  readonly pid: number
  readonly role: GateRole
  /** Processes that serve agents; 1: it does so itself, 0: it is no gate. */
  readonly workers: number
  readonly version: string
  readonly started_at: number
  readonly seen_at: number
  /** Of the policy that decides. */
  readonly policy_digest: string
  /** Null: nothing is proven of the view. */
  readonly revocation_age_ms: number | null
  readonly revocation_entries: number
  readonly store: Store['kind']
  readonly ready: boolean
  /** What keeps it from being ready: `name: detail` of `/readyz`. */
  readonly faults: readonly string[]
}

/** What a process says of itself each time. */
export type GateNow = Pick<
  GateStatus,
  'policy_digest' | 'revocation_age_ms' | 'revocation_entries' | 'ready' | 'faults'
>

/** What it says once. */
export type GateSelf = Omit<GateStatus, keyof GateNow | 'started_at' | 'seen_at'>

export interface PresenceParts {
  readonly store: Pick<Store, 'records' | 'clockOffset'>
  readonly self: GateSelf
  readonly now: () => Promise<GateNow>
  /** The wall clock, milliseconds. */
  readonly clock: () => number
  /** Told when the others cannot be told, once until they can be again. */
  readonly onError: (error: unknown) => void
  /** Default 5 seconds. */
  readonly everyMs?: number
  /** Default three times as long. */
  readonly keepMs?: number
}

export interface Presence {
  /** Takes the record away, where the store answers. */
  close(): Promise<void>
}

const everyMs = 5_000
const keptBeats = 3
/** The list that every record is in. */
const list = 'up'
/** More processes than anybody runs on one store. */
const mostGates = 1_000

/** Says that this process is up, at once and until it is closed. */
export function startPresence(parts: PresenceParts): Presence {
  const { store, self, onError } = parts
  const every = parts.everyMs ?? everyMs
  const keepSeconds = (parts.keepMs ?? keptBeats * every) / 1000
  const startedAt = storeTime(parts)
  let isTold = true
  let beating: Promise<void> | undefined

  const put = async (text: string | undefined) => {
    const known = await store.records.get('gate', self.id)
    const times = { at: startedAt, expiresAt: storeTime(parts) + keepSeconds }
    const write = { kind: 'gate', id: self.id, expect: known?.version ?? 0, text, lists: [list] } as const
    await store.records.write([{ ...write, ...times }])
  }
  const beat = async () => {
    try {
      const times = { started_at: startedAt, seen_at: storeTime(parts) }
      const status: GateStatus = { ...self, ...times, ...(await parts.now()) }
      await put(JSON.stringify(status))
      isTold = true
    } catch (error) {
      if (isTold) onError(error)
      isTold = false
    }
  }
  const turn = () => {
    // One at a time: a store that is slow must not be asked faster than it answers.
    beating ??= beat().finally(() => {
      beating = undefined
    })
  }
  turn()
  const beats = setInterval(turn, every).unref()
  return {
    async close() {
      clearInterval(beats)
      await beating
      // It goes by itself in a moment.
      await put(undefined).catch(() => {})
    },
  }
}

/** Everybody who is up, the youngest first. Throws `Unavailable`. */
export async function readGates({ records }: Pick<Store, 'records'>): Promise<GateStatus[]> {
  const stored = await records.list('gate', list, { limit: mostGates })
  return stored.map(({ id, text }) => {
    const gate = read(text)
    if (gate?.id !== id) throw new Unavailable('a stored gate is malformed')
    return gate
  })
}

/** The time of the store, seconds since 1970: clocks of machines differ. */
export function storeTime({ store, clock }: Pick<PresenceParts, 'store' | 'clock'>): number {
  return clock() / 1000 - store.clockOffset()
}

const members: Readonly<Record<keyof GateStatus, (value: unknown) => boolean>> = {
  id: isText,
  host: isText,
  pid: Number.isSafeInteger,
  role: (value) => value === 'gate' || value === 'broker' || value === 'both',
  workers: Number.isSafeInteger,
  version: isText,
  started_at: Number.isFinite,
  seen_at: Number.isFinite,
  policy_digest: isText,
  revocation_age_ms: (value) => value === null || Number.isFinite(value),
  revocation_entries: Number.isSafeInteger,
  store: (value) => value === 'embedded' || value === 'redis',
  ready: (value) => typeof value === 'boolean',
  faults: (value) => Array.isArray(value) && value.every(isText),
}

function read(text: string): GateStatus | undefined {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    return undefined
  }
  return isGate(value) ? value : undefined
}

/** What a newer version says beside that is passed on. */
function isGate(value: unknown): value is GateStatus {
  return isObject(value) && Object.entries(members).every(([name, holds]) => holds(value[name]))
}

function isText(value: unknown): boolean {
  return typeof value === 'string'
}
