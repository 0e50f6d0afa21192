// Executes released drafts: finds them, claims each, performs it through the pipeline, records what came of it. In:
// the actions of the store and a gate. Out: requests to backends, each at most once over all processes and crashes.
// Decides nothing: whoever released a draft did, and the pipeline does again.
import type { Action, ActionOutcome } from '../approval/action.ts'
import type { Actions, HeldCall, KeptAction } from '../approval/actions.ts'
import { aliveSeconds, claimed, concluded, dueStep, type Executed, failed } from '../approval/release.ts'
import { ownKeys, type Stood, standingLease } from '../approval/release_lease.ts'
import type { RecordWrite, Store } from '../ports.ts'
import { isRefusal, type Refusal } from '../refusals.ts'
import { type PerformParts, perform } from './perform.ts'

export interface ReleaserParts extends PerformParts {
  readonly actions: Actions
  readonly store: Pick<Store, 'leases' | 'revocations'>
  readonly maxResponseBytes: number
  /** Milliseconds since 1970. */
  readonly clock: () => number
  /** What tells people of the end of a draft, written with it. */
  readonly noticesOf: (action: Action) => readonly RecordWrite[]
  /** Told of every draft that is over, by the process that ended it. */
  readonly onEnded: (action: Action & { readonly outcome: ActionOutcome }) => void
  /** Told when the store does not answer; drafts wait until it does. */
  readonly onFault: (error: unknown) => void
}

/** How often the store is asked, milliseconds. */
const everyMs = 500
/** Drafts that are looked at, and executed, at a time. */
const atOnce = 32
const listed = 200

/** One per process with a gate and a control listener. */
export class Releaser {
  readonly #parts: ReleaserParts
  readonly #timer: NodeJS.Timeout
  readonly #underWay = new Map<string, Promise<void>>()
  #looking: Promise<void> | undefined
  #again = false
  #closed = false

  constructor(parts: ReleaserParts) {
    this.#parts = parts
    this.#timer = setInterval(() => this.look(), everyMs)
    this.#timer.unref()
  }

  /** Looks for released drafts now: one has been released in this process. */
  look(): void {
    this.#again = true
    this.#looking ??= this.#lookAll().finally(() => {
      this.#looking = undefined
    })
  }

  /** Takes up no further draft, and waits for those under way, for at most `graceMs`. */
  async close(graceMs: number): Promise<void> {
    this.#closed = true
    clearInterval(this.#timer)
    const { promise: late, resolve } = Promise.withResolvers<void>()
    const timer = setTimeout(resolve, graceMs)
    const over = Promise.resolve(this.#looking).then(() => Promise.all(this.#underWay.values()))
    await Promise.race([over, late])
    clearTimeout(timer)
  }

  async #lookAll(): Promise<void> {
    while (this.#again && !this.#closed) {
      this.#again = false
      try {
        const released = await this.#parts.actions.list('released', { limit: listed })
        // Whoever has waited longest comes first.
        for (const kept of released.reverse()) this.#take(kept)
      } catch (error) {
        this.#parts.onFault(error)
      }
    }
  }

  #take(kept: KeptAction): void {
    const { id } = kept.action
    if (this.#closed || this.#underWay.size >= atOnce || this.#underWay.has(id)) return
    const step = dueStep(kept.action, this.#now())
    if (step === undefined) return
    const done = step === 'execute' ? this.#execute(kept) : this.#fail(kept, step)
    const settled = done.catch(this.#parts.onFault).finally(() => {
      this.#underWay.delete(id)
    })
    this.#underWay.set(id, settled)
  }

  async #fail(kept: KeptAction, step: 'expire' | 'interrupt'): Promise<void> {
    const code = step === 'expire' ? 'approval_expired' : 'interrupted'
    await this.#conclude(kept, failed(kept.action, code, this.#now()))
  }

  /** From the claim on this process alone has to do with the draft, and nobody ever again if it is killed. */
  async #execute(released: KeptAction): Promise<void> {
    const { actions } = this.#parts
    const call = await actions.call(released.action)
    const stood = call && (await this.#stand(released.action, call))
    const claim = await actions.change(released, claimed(released.action, this.#now()))
    if (claim === undefined) return
    if (call === undefined || stood === undefined || isRefusal(stood)) {
      // Without the exact bytes there is nothing to execute: they are gone, altered, or sealed with another key.
      const code = isRefusal(stood) ? stood.code : 'evidence_unavailable'
      await this.#concludeAtLast(claim, failed(claim.action, code, this.#now()))
      return
    }
    const alive = new SignsOfLife(claim, this.#parts)
    const came = await this.#perform(claim, call, stood)
    const last = await alive.end()
    await this.#concludeAtLast(last, concluded(last.action, came, this.#now()))
  }

  async #perform(claim: KeptAction, call: HeldCall, stood: Stood): Promise<Executed> {
    const { actions, maxResponseBytes } = this.#parts
    const { decisionId, status, headers, body, bytes, code } = await perform(
      call,
      { ...stood, released: claim },
      maxResponseBytes,
      this.#parts,
    )
    const answer = status === undefined || body === undefined ? undefined : { status, headers, body }
    // An answer that cannot be kept is one that is not: the outcome is what matters.
    const kept = answer !== undefined && (await actions.keepResponse(claim.action, answer).catch(() => false))
    return { decisionId, status, code, bytes, kept }
  }

  async #stand({ terms: { afterLease } }: Action, { lease }: HeldCall): Promise<Stood | Refusal> {
    const { store, gate } = this.#parts
    const record = await store.leases.get(lease.id)
    const ended = store.revocations.find(ownKeys(lease), lease.issuedAt - lease.clockTolerance)
    return standingLease({ lease, afterLease, record, ended, issuers: gate.issuers, now: this.#now() })
  }

  /**
   * Until it is written: the draft has been executed, and its agent wants to know. A write that seemed to fail may have
   * been done, be it the outcome or a sign of life.
   */
  async #concludeAtLast(claim: KeptAction, concludedAction: Action): Promise<void> {
    for (let kept: KeptAction | undefined = claim; kept?.action.state === 'executing'; ) {
      try {
        if (await this.#conclude(kept, concludedAction)) return
        kept = await this.#parts.actions.get(concludedAction.id)
      } catch (error) {
        this.#parts.onFault(error)
        if (this.#closed) return
        await new Promise((resolve) => setTimeout(resolve, everyMs))
      }
    }
  }

  async #conclude(kept: KeptAction, { outcome, ...rest }: Action): Promise<boolean> {
    if (outcome === undefined) throw new Error('a draft ends with an outcome')
    const ended = { ...rest, outcome }
    const { actions, noticesOf, onEnded } = this.#parts
    const done = await actions.change(kept, ended, noticesOf(ended))
    if (done !== undefined) onEnded(ended)
    return done !== undefined
  }

  #now(): number {
    return this.#parts.clock() / 1000
  }
}

/** Says, as long as an execution lasts, that somebody is at it. */
class SignsOfLife {
  readonly #timer: NodeJS.Timeout
  #last: KeptAction
  #saying: Promise<void> = Promise.resolve()

  constructor(claim: KeptAction, { actions, clock, onFault }: ReleaserParts) {
    this.#last = claim
    const say = async () => {
      const said = await actions.change(this.#last, claimed(this.#last.action, clock() / 1000))
      this.#last = said ?? this.#last
    }
    this.#timer = setInterval(() => {
      this.#saying = this.#saying.then(say).catch(onFault)
    }, aliveSeconds * 1000)
  }

  /** Stops, and gives the version that stands. */
  async end(): Promise<KeptAction> {
    clearInterval(this.#timer)
    await this.#saying
    return this.#last
  }
}
