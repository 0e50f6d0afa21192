// Recorded decisions in, one line of an audit file after the other; what a candidate policy would have said
// instead out. Pure and in bounded memory, however many lines come. Never drops a line: what cannot be
// replayed is counted by its cause.
import type { Effect, Policy } from '../ports.ts'
import { overlapping } from './input_paths.ts'
import { type RecordedDecision, readRecorded } from './recorded.ts'
import { type Count, Tally } from './tally.ts'

/** The order in which effects are told. */
export const effects = ['allow', 'draft', 'hold', 'deny'] as const satisfies readonly Effect[]

/** Why a record could not be replayed. */
export type Cause =
  /** Something before policy refused, or the gate answered itself: no policy changes that. */
  | 'not_asked'
  /** By a version of the gate that kept no inputs. */
  | 'recorded_before'
  /** `audit.policy_input.record` was false. */
  | 'off'
  /** Above `audit.policy_input.max_size`. */
  | 'too_large'
  /** The candidate reads what the record has lost. */
  | 'redacted'
  /** Not a record at all. */
  | 'damaged'

/** Decisions of one sort that the candidate makes otherwise. */
export interface Flip {
  readonly agent: string
  readonly verb: string
  readonly operation: string
  readonly before: Effect
  readonly after: Effect
  readonly count: number
  /** Decision ids, the first ones. */
  readonly examples: readonly string[]
}

/** What a replay found. */
export interface ReplayReport {
  /** Of the candidate. */
  readonly digest: string
  /** Records of requests, replayed or not, and lines that may have been some. */
  readonly records: number
  readonly replayed: number
  /** `effects[before][after]`, over everything replayed. */
  readonly effects: Readonly<Record<Effect, Readonly<Record<Effect, number>>>>
  /** Other effect. `newlyAllowed` was not allowed and is now; `newlyDenied` was not denied and is now. */
  readonly changed: number
  readonly newlyAllowed: number
  readonly newlyDenied: number
  /** Most first. */
  readonly flips: readonly Flip[]
  /** Changed decisions of sorts that came after the bound on sorts was reached. */
  readonly otherFlips: number
  /** The same effect for other reasons. */
  readonly otherReasons: { readonly count: number; readonly examples: readonly string[] }
  /** Replayed, but the candidate gave no usable answer: the gate would have denied. */
  readonly faults: readonly Count<string>[]
  readonly notReplayed: readonly NotReplayed[]
}

/** Records that were not replayed for one cause. `of` says which: codes, paths, places; most first. */
export interface NotReplayed extends Count<Cause> {
  readonly of: readonly Count<string>[]
  /** Not told apart in `of`. */
  readonly rest: number
}

export interface ReplayOptions {
  readonly policy: Policy
  /** Paths of the input that the candidate can read; '' is all of it. */
  readonly reads: readonly string[]
  /** Decision ids to keep of each sort. */
  readonly examples: number
  /** Sorts of flips to tell apart. Default 10,000. */
  readonly maxFlips?: number
}

const maxDetails = 100

/** One replay: `add` every line, then `report`. */
export class Replay {
  readonly #options: ReplayOptions
  readonly #flips = new Map<string, Flip & Counted>()
  readonly #faults = new Tally(maxDetails)
  readonly #notReplayed = new Map<Cause, Tally>()
  readonly #otherReasons: Counted = { count: 0, examples: [] }
  readonly #effects = matrix()
  #records = 0
  #otherFlips = 0

  constructor(options: ReplayOptions) {
    this.#options = options
  }

  /** Replays one line; `place` names it in the report, e.g. `audit.jsonl:17`. Total. */
  add(line: string, place: () => string): void {
    const recorded = readRecorded(line)
    if (recorded.kind === 'other') return
    this.#records++
    if (recorded.kind === 'decision') this.#decideAgain(recorded)
    else if (recorded.kind === 'not_asked') this.#leaveOut('not_asked', recorded.why)
    else if (recorded.kind === 'no_input') this.#leaveOut(recorded.why, '')
    else this.#leaveOut('damaged', place())
  }

  /** Records seen so far. */
  get records(): number {
    return this.#records
  }

  report(): ReplayReport {
    const count = (holds: (before: Effect, after: Effect) => boolean): number =>
      effects
        .flatMap((before) =>
          effects.map((after) => (holds(before, after) ? this.#effects[before][after] : 0)),
        )
        .reduce((sum, each) => sum + each)
    return {
      digest: this.#options.policy.digest,
      records: this.#records,
      replayed: count(() => true),
      effects: this.#effects,
      changed: count((before, after) => before !== after),
      newlyAllowed: count((before, after) => before !== 'allow' && after === 'allow'),
      newlyDenied: count((before, after) => before !== 'deny' && after === 'deny'),
      flips: [...this.#flips.values()].toSorted((a, b) => b.count - a.count),
      otherFlips: this.#otherFlips,
      otherReasons: this.#otherReasons,
      faults: this.#faults.counts(),
      notReplayed: [...this.#notReplayed]
        .map(([name, tally]) => ({ name, count: tally.total, of: tally.counts(), rest: tally.rest }))
        .toSorted((a, b) => b.count - a.count),
    }
  }

  #decideAgain(recorded: RecordedDecision): void {
    const { policy, reads } = this.#options
    const missing = recorded.redacted.filter((path) => reads.some((read) => overlapping(read, path)))
    if (missing.length > 0) {
      this.#leaveOut('redacted', missing.join(', '))
      return
    }
    const { effect, reasons, fault } = policy.evaluate(recorded.input)
    this.#effects[recorded.effect][effect]++
    if (fault !== undefined) this.#faults.add(fault)
    if (effect !== recorded.effect) this.#flip(recorded, effect)
    else if (!sameTexts(reasons, recorded.reasons)) this.#count(this.#otherReasons, recorded.id)
  }

  #flip({ id, agent, verb, operation, effect: before }: RecordedDecision, after: Effect): void {
    const key = JSON.stringify([agent, verb, operation, before, after])
    let flip = this.#flips.get(key)
    if (flip === undefined) {
      if (this.#flips.size >= (this.#options.maxFlips ?? 10_000)) {
        this.#otherFlips++
        return
      }
      flip = { agent, verb, operation, before, after, count: 0, examples: [] }
      this.#flips.set(key, flip)
    }
    this.#count(flip, id)
  }

  #count(counted: Counted, id: string): void {
    counted.count++
    if (counted.examples.length < this.#options.examples) counted.examples.push(id)
  }

  #leaveOut(cause: Cause, detail: string): void {
    const tally = this.#notReplayed.get(cause) ?? new Tally(maxDetails)
    this.#notReplayed.set(cause, tally)
    tally.add(detail)
  }
}

/** A count that still grows, with its first examples. */
interface Counted {
  count: number
  readonly examples: string[]
}

function matrix(): Record<Effect, Record<Effect, number>> {
  const row = (): Record<Effect, number> => ({ allow: 0, draft: 0, hold: 0, deny: 0 })
  return { allow: row(), draft: row(), hold: row(), deny: row() }
}

function sameTexts(one: readonly string[], other: readonly string[]): boolean {
  return one.length === other.length && one.every((text, at) => text === other[at])
}
