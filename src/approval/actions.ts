// Actions as they are stored: in records that change by compare-and-set, with the bytes of the call sealed beside
// them. In: the records port and a sealer. Out: actions, and whether a change came about. Decides nothing.
import { type Lease, revocationKeys } from '../lease/lease.ts'
import { type Place, type Records, type RecordWrite, type StoredRecord, Unavailable } from '../ports.ts'
import { type Action, isOver } from './action.ts'
import type { Sealer } from './seal.ts'
import { readAction } from './stored_action.ts'

/** A call exactly as the agent sent it: what a fingerprint names and a gate executes. */
export interface HeldCall {
  readonly method: string
  /** The request target as sent, query included. */
  readonly target: string
  readonly authority: string
  /** Flat name, value list of the fields that go on to the backend; never a credential of the agent. */
  readonly headers: readonly string[]
  readonly body: Uint8Array
  readonly peer: string
  readonly provenance: 'trusted' | 'untrusted'
  readonly lease: Lease
}

/** An action and the version that a change of it has to be made from. */
export interface KeptAction {
  readonly action: Action
  readonly version: number
}

/** The backend's answer to an executed draft. */
export interface KeptResponse {
  readonly status: number
  /** Flat name, value list, as the agent may see it. */
  readonly headers: readonly string[]
  readonly body: Uint8Array
}

/** Kept after its end for a day: agents fetch what became of it, people look back. */
const keepSeconds = 86_400
/** Its bytes for less: they are what fills a store. */
const keepCallSeconds = 3_600
/** What is taken back keeps its place for so long after it was opened: agents cannot fill a store with it. */
const backSeconds = 60

/** What comes with a new action. */
export interface Opening {
  readonly also: readonly RecordWrite[]
  /** Places of its lease. */
  readonly most: number
}

export class Actions {
  readonly #records: Records
  readonly #sealer: Sealer
  readonly #watchers: ((id: string) => void)[] = []

  constructor(records: Records, sealer: Sealer) {
    this.#records = records
    this.#sealer = sealer
  }

  /**
   * Stores a new action, unless one of the same fingerprint still waits: then that one. One step over all processes:
   * one fingerprint never waits twice, and a lease never has more than `most` places (test/approval/actions.test.ts).
   * Undefined: they are taken.
   */
  open(action: Action, call: HeldCall): Promise<KeptAction>
  open(action: Action, call: HeldCall, opening: Opening): Promise<KeptAction | undefined>
  async open(action: Action, call: HeldCall, opening?: Opening): Promise<KeptAction | undefined> {
    for (let attempt = 0; attempt < attempts; attempt++) {
      const [pointer, turn] = await Promise.all([
        this.#records.get('open', action.fingerprint),
        this.#records.get('turn', waitingOf(action.lease)),
      ])
      const known = pointer && (await this.#pointed(pointer, action.fingerprint))
      if (known !== undefined && !isOver(known.action, action.createdAt)) return known
      if (opening !== undefined && (await this.#isFull(action, opening.most))) return undefined
      const stored = await this.#records.write([
        writeOf(action, 0),
        this.#sealed(action, call, 0),
        pointerTo(action, pointer?.version ?? 0),
        // Whoever counted before this one was opened has to count again.
        turnOf(action, turn?.version ?? 0),
        ...(opening?.also ?? []),
      ])
      if (stored) return { action, version: 1 }
    }
    throw new Unavailable('others keep opening actions of the same lease')
  }

  /** Places of a lease are taken by what waits, and for a while by what its agent has taken back. */
  async #isFull({ lease, createdAt: now }: Action, most: number): Promise<boolean> {
    const options = { limit: 2 * most }
    const [waiting, all] = await Promise.all([
      this.#records.list('action', waitingOf(lease), options),
      this.list({ lease: lease.id }, options),
    ])
    const pending = waiting.filter((record) => !isOver(read(record).action, now))
    const back = all.filter(
      ({ action: { state, lease: of, createdAt } }) =>
        state === 'withdrawn' && of.issuer === lease.issuer && createdAt > now - backSeconds,
    )
    return pending.length + back.length >= most
  }

  /** Undefined: there is none, or nobody asks for it any more. */
  async get(id: string): Promise<KeptAction | undefined> {
    const record = await this.#records.get('action', id)
    return record && read(record)
  }

  /** The newest action of a fingerprint, whatever became of it. */
  async latest(fingerprint: string): Promise<KeptAction | undefined> {
    const pointer = await this.#records.get('open', fingerprint)
    return pointer && this.#pointed(pointer, fingerprint)
  }

  /** A draft that was replaced has left its fingerprint: what is pointed to is something else by now. */
  async #pointed(pointer: StoredRecord, fingerprint: string): Promise<KeptAction | undefined> {
    const kept = await this.get(pointer.text)
    return kept?.action.fingerprint === fingerprint ? kept : undefined
  }

  /** Writes `next` over the version that was read. Undefined: somebody was faster, and nothing has changed. */
  async change(
    { version }: KeptAction,
    next: Action,
    also: readonly RecordWrite[] = [],
  ): Promise<KeptAction | undefined> {
    if (!(await this.#records.write([writeOf(next, version), ...also]))) return undefined
    for (const watcher of this.#watchers) watcher(next.id)
    return { action: next, version: version + 1 }
  }

  /** `watcher` is told which action has changed, for as long as the process lives: of changes made here alone. */
  watch(watcher: (id: string) => void): void {
    this.#watchers.push(watcher)
  }

  /** What else changes when a draft gets another call: its bytes, and what points to it. */
  async replacing(before: Action, next: Action, call: HeldCall): Promise<RecordWrite[]> {
    const [bytes, pointer, old] = await Promise.all([
      this.#records.get('call', next.id),
      this.#records.get('open', next.fingerprint),
      this.#records.get('open', before.fingerprint),
    ])
    const moved = [this.#sealed(next, call, bytes?.version ?? 0), pointerTo(next, pointer?.version ?? 0)]
    if (before.fingerprint === next.fingerprint || old?.text !== before.id) return moved
    return [...moved, { ...pointerTo(before, old.version), text: undefined }]
  }

  /** The write after which nobody has the bytes of an action any more: for one that is taken back. */
  async dropping({ id, createdAt: at, expiresAt }: Action): Promise<RecordWrite[]> {
    const bytes = await this.#records.get('call', id)
    return bytes === undefined
      ? []
      : [{ kind: 'call', id, expect: bytes.version, text: undefined, expiresAt, at }]
  }

  /** The call of an action. Undefined: it is gone, or was sealed for another fingerprint or with another key. */
  async call({ id, fingerprint }: Action): Promise<HeldCall | undefined> {
    const record = await this.#records.get('call', id)
    const bytes = record && this.#sealer.open(callName(id, fingerprint), record.text)
    return bytes && readCall(bytes)
  }

  /** Keeps the answer to an executed draft as long as the action. */
  async keepResponse(action: Action, { body, ...head }: KeptResponse): Promise<boolean> {
    const text = JSON.stringify({ ...head, body: Buffer.from(body).toString('base64') })
    return this.#records.write([
      {
        kind: 'response',
        id: action.id,
        expect: 0,
        text: this.#sealer.seal(`response\n${action.id}`, Buffer.from(text)),
        expiresAt: goneAt(action),
        at: action.createdAt,
      },
    ])
  }

  async response({ id }: Action): Promise<KeptResponse | undefined> {
    const record = await this.#records.get('response', id)
    const bytes = record && this.#sealer.open(`response\n${id}`, record.text)
    if (bytes === undefined) return undefined
    const { status, headers, body } = JSON.parse(Buffer.from(bytes).toString())
    return { status, headers, body: Buffer.from(body, 'base64') }
  }

  /**
   * Newest first. `pending`; `released`: drafts that a gate has to do with; `ending`: what expiry.ts ends when its
   * time is over; all of one lease; all.
   */
  async list(
    which: 'pending' | 'released' | 'ending' | 'all' | { readonly lease: string },
    options: { readonly limit: number; readonly before?: Place },
  ): Promise<KeptAction[]> {
    const list = typeof which === 'object' ? `lease:${which.lease}` : which
    return (await this.#records.list('action', list, options)).map(read)
  }

  #sealed(action: Action, { body, lease, ...call }: HeldCall, expect: number): RecordWrite {
    const { revocationKeys: _, ...plain } = lease
    const text = JSON.stringify({ ...call, lease: plain, body: Buffer.from(body).toString('base64') })
    return {
      kind: 'call',
      id: action.id,
      expect,
      text: this.#sealer.seal(callName(action.id, action.fingerprint), Buffer.from(text)),
      expiresAt: action.expiresAt + keepCallSeconds,
      at: action.createdAt,
    }
  }
}

/** Each time somebody else was faster; with that many at once, a 503 is right. */
const attempts = 32

/** The name that a call is sealed under: it opens for this action and these bytes alone. */
function callName(id: string, fingerprint: string): string {
  return `call\n${id}\n${fingerprint}`
}

function goneAt({ expiresAt, terms }: Action): number {
  return expiresAt + terms.afterLease + keepSeconds
}

function writeOf(action: Action, expect: number): RecordWrite {
  const { kind, state, lease } = action
  const lists = ['all', `lease:${lease.id}`]
  if (state === 'pending') lists.push('pending', waitingOf(lease))
  if (state === 'pending' || (kind === 'hold' && state === 'approved')) lists.push('ending')
  if (kind === 'draft' && (state === 'approved' || state === 'executing')) lists.push('released')
  return {
    kind: 'action',
    id: action.id,
    expect,
    text: JSON.stringify(action),
    expiresAt: goneAt(action),
    lists,
    at: action.createdAt,
  }
}

function waitingOf({ id, issuer }: Pick<Lease, 'id' | 'issuer'>): string {
  return `waiting:${issuer} ${id}`
}

function pointerTo(action: Action, expect: number): RecordWrite {
  const { fingerprint, createdAt: at, id: text } = action
  return { kind: 'open', id: fingerprint, expect, text, expiresAt: goneAt(action), at }
}

/** The action that a lease has opened last. */
function turnOf(action: Action, expect: number): RecordWrite {
  const { lease, createdAt: at, id: text } = action
  return { kind: 'turn', id: waitingOf(lease), expect, text, expiresAt: goneAt(action), at }
}

function read({ id, text, version }: StoredRecord): KeptAction {
  const action = readAction(text)
  if (action?.id !== id) throw new Unavailable('a stored action is malformed')
  return { action, version }
}

function readCall(bytes: Uint8Array): HeldCall {
  const { body, lease, ...call } = JSON.parse(Buffer.from(bytes).toString())
  return {
    ...call,
    lease: { ...lease, revocationKeys: revocationKeys(lease) },
    body: Buffer.from(body, 'base64'),
  }
}
