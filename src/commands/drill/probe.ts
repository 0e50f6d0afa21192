// One caller with one lease on one connection, which does not stop calling. In: calls as they end. Out: what was
// accepted and from when on nothing was. Decides nothing about pass or fail.
import { setTimeout as sleep } from 'node:timers/promises'
import type { GateConnection } from './connection.ts'

/** A call is sent so long after the answer to the one before, milliseconds. */
const pauseMs = { eager: 1, calm: 100 }
/** Refusals in a row after which a caller calms down. */
const settledAfter = 20

export class Probe {
  readonly connection: GateConnection
  readonly #token: string
  /** When each accepted call was sent. */
  readonly #accepted: number[] = []
  /** Refused or failed in another way than as revoked. */
  readonly #otherwise = new Set<string>()
  /** When the first refusal after the last acceptance came. */
  #refusedAt: number | undefined
  #refusals = 0
  #stopped = false

  constructor(connection: GateConnection, token: string) {
    this.connection = connection
    this.#token = token
  }

  /** Calls until `stop`. */
  async run(): Promise<void> {
    while (!this.#stopped) {
      const call = await this.connection.call(this.#token)
      if (call.outcome === 'accepted') {
        this.#accepted.push(call.sentAt)
        this.#refusedAt = undefined
        this.#refusals = 0
      } else if (call.outcome === 'refused' && call.code === 'lease_revoked') {
        this.#refusedAt ??= call.answeredAt
        this.#refusals += 1
      } else {
        this.#otherwise.add(call.outcome === 'refused' ? `${call.status} ${call.code}` : call.cause)
      }
      await sleep(this.isSettled ? pauseMs.calm : pauseMs.eager)
    }
  }

  stop(): void {
    this.#stopped = true
  }

  get isSettled(): boolean {
    return this.#refusals >= settledAfter
  }

  get refusedAt(): number | undefined {
    return this.#refusedAt
  }

  get otherwise(): readonly string[] {
    return [...this.#otherwise]
  }

  /** Accepted calls that were sent later than `at`. */
  acceptedAfter(at: number): number {
    return this.#accepted.filter((sentAt) => sentAt > at).length
  }
}
