// Actions as they are stored: in records that change by compare-and-set, with the bytes of the call sealed beside
// them. In: the records port and a sealer. Out: actions, and whether a change came about. Decides nothing.
import { type Lease, revocationKeys } from '../lease/lease.ts'
import { type Records, type RecordWrite, type StoredRecord, Unavailable } from '../ports.ts'
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

export class Actions {
  readonly #records: Records
  readonly #sealer: Sealer

  constructor(records: Records, sealer: Sealer) {
    this.#records = records
    this.#sealer = sealer
  }

  /**
   * Stores a new action, unless one of the same fingerprint still waits: then that one. One step over all processes:
   * one fingerprint never waits twice (test/approval/actions.test.ts).
   */
  async open(action: Action, call: HeldCall, also: readonly RecordWrite[] = []): Promise<KeptAction> {
    for (let attempt = 0; attempt < attempts; attempt++) {
      const pointer = await this.#records.get('open', action.fingerprint)
      const known = pointer && (await this.#pointed(pointer, action.fingerprint))
      if (known !== undefined && !isOver(known.action, action.createdAt)) return known
      const stored = await this.#records.write([
        writeOf(action, 0),
        this.#sealed(action, call, 0),
        pointerTo(action, pointer?.version ?? 0),
        ...also,
      ])
      if (stored) return { action, version: 1 }
    }
    throw new Unavailable('others keep opening the same action')
  }

  /** How many actions of a lease wait; not counted beyond `most`. */
  async waiting({ id, issuer }: Pick<Lease, 'id' | 'issuer'>, now: number, most: number): Promise<number> {
    const records = await this.#records.list('action', waitingOf({ id, issuer }), { limit: 2 * most })
    return records.filter((record) => !isOver(read(record).action, now)).length
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
    const done = await this.#records.write([writeOf(next, version), ...also])
    return done ? { action: next, version: version + 1 } : undefined
  }

  /** The write that seals another call in the place of the one before: for a draft that is replaced. */
  async replacing(action: Action, call: HeldCall): Promise<RecordWrite> {
    const before = await this.#records.get('call', action.id)
    return this.#sealed(action, call, before?.version ?? 0)
  }

  /** The writes that move the pointer to a fingerprint. */
  async pointing(action: Action): Promise<RecordWrite> {
    const before = await this.#records.get('open', action.fingerprint)
    return pointerTo(action, before?.version ?? 0)
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

  /** Newest first. `pending`, `approved` drafts that wait for a gate, all of one lease, or all. */
  async list(
    which: 'pending' | 'released' | 'all' | { readonly lease: string },
    options: { readonly limit: number; readonly before?: number },
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
      expiresAt: goneAt(action),
      at: action.createdAt,
    }
  }
}

const attempts = 8

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
