// Records that several processes change one after the other: actions that wait for a human, the repeats that were
// granted, sessions of people, gates that are up. Part of ports.ts; times are seconds since 1970.

/** What a record is of. Each kind has one owner, who reads and writes its text. */
export const recordKinds = [
  'action', // approval/actions.ts: what waits for a human, and what became of it
  'call', // approval/actions.ts: the sealed bytes of an action
  'open', // approval/actions.ts: by fingerprint, the newest action of it
  'turn', // approval/actions.ts: by lease, the action that it has opened last
  'response', // approval/actions.ts: the sealed answer to an executed draft
  'repeat', // approval/repeats.ts: a bounded repeat that somebody granted
  'approver', // approval/habits.ts: how somebody decides
  'session', // http/console/sessions.ts: somebody who is signed in
  'passkey', // http/console/passkeys.ts: a passkey of somebody
  'notice', // notify/: what somebody is still to be told
  'gate', // http/presence.ts: a process that is up
] as const
export type RecordKind = (typeof recordKinds)[number]

/** One record as it stands. */
export interface StoredRecord {
  readonly id: string
  /** Counts its changes, from 1. */
  readonly version: number
  readonly text: string
}

/** One record as it is to be. */
export interface RecordWrite {
  readonly kind: RecordKind
  readonly id: string
  /** The version that has to stand there; 0: there may be none. */
  readonly expect: number
  /** Undefined: the record goes. */
  readonly text: string | undefined
  /** From then on nobody asks for it and it may be purged. */
  readonly expiresAt: number
  /** Lists that it is to be in, and only those: `state:pending`, `lease:lse_…`. At most eight. */
  readonly lists?: readonly string[]
  /** Its place in them: newest first. */
  readonly at: number
}

/** A place in a list. Without an id: older than `at`. */
export interface Place {
  readonly at: number
  readonly id?: string
}

export interface Records {
  /** Undefined: there is none, or its time is over. */
  get(kind: RecordKind, id: string): Promise<StoredRecord | undefined>
  /**
   * All of them or none, in one step over all processes, durable before it resolves: false when one of the
   * expectations does not hold, and then nothing has changed. Throws `Unavailable`; such a write may have been done
   * all the same. The same record twice is a bug.
   */
  write(writes: readonly RecordWrite[]): Promise<boolean>
  /**
   * Those in a list, newest first (of one time, the greater id first), at most `limit`; where `before` is given, those
   * that come after it in this order: whoever asks with the last one of a page skips nothing.
   */
  list(
    kind: RecordKind,
    list: string,
    options: { readonly limit: number; readonly before?: Place },
  ): Promise<StoredRecord[]>
}
