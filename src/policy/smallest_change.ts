// In: an engine, an input it does not allow, and edits that might help. Out: the smallest sets of edits after
// which it does allow, each found by asking the engine. Knows no rule and no field. Bounded by work, and
// for the slowest policies by time. Never proposes what has not been tried whole.
import { grantCoversRequest } from '../enforce/checks.ts'
import { asked } from './asked.ts'
import { applyEdits, collide, type Edit } from './edit.ts'
import { ask, type Engine } from './evaluate.ts'
import { type PolicyInput, policyInput } from './input_schema.ts'
import type { Tree } from './sources.ts'

/** Edits that are enough together, and none of which can be left out. */
export type Change = readonly Edit[]

/** What a search found. */
export interface Search {
  /** All of one size, the smallest; changes of the lease alone come first. */
  readonly changes: readonly Change[]
  /** Sets of edits tried. */
  readonly tried: number
  /** False: a bound was met before everything smaller, or without changes everything, had been tried. */
  readonly complete: boolean
}

/** Edits in one change, at most. */
export const maxEdits = 3

/** Of the lease alone, and as many with the data. */
const maxChanges = 2
// 25 µs each with its input (shipped policy, Node 24): 1.5 s.
const maxEvaluations = 60_000
// Loading data is counted apart, so that a large one leaves changes of the lease to be tried: 10 units, 0.3 ms,
// and one for each 2 kB (20,000 users, 1.5 MB: 19 ms).
const maxLoading = 60_000
const loading = 10
const loadingBytes = 2000
// For a policy a thousand times slower than ours; no other gets there.
const maxMs = 10_000

/** What the search asks about. */
export interface Question {
  readonly engine: Engine
  readonly input: PolicyInput
  readonly data: Tree
}

/** Tries single edits, then pairs, then triples, and stops at the first size that helps. */
export function smallestChanges(question: Question, candidates: readonly Edit[]): Search {
  const search = new Searching(question)
  const telling = search.telling(candidates)
  let complete = true
  for (let size = 1; size <= maxEdits && search.found.length === 0; size++) {
    complete = search.complete
    search.tryEvery(size, telling)
    if (search.found.length === 0) search.tryEvery(size, candidates)
  }
  if (search.found.length === 0) complete = search.complete
  question.engine.setData(question.data)
  return { changes: search.found, tried: search.tried, complete }
}

class Searching {
  readonly found: Change[] = []
  tried = 0
  /** No bound has been met yet. */
  complete = true
  readonly #question: Question
  readonly #dataBytes: number
  readonly #began = performance.now()
  #evaluations = 0
  #loading = 0
  /** The engine holds the data as it is. */
  #pristine = true

  constructor(question: Question) {
    this.#question = question
    this.#dataBytes = JSON.stringify(question.data).length
  }

  /** The candidates that change the answer in any way on their own: of larger changes, the likely parts. */
  telling(candidates: readonly Edit[]): Edit[] {
    const before = JSON.stringify(this.#ask([]))
    return candidates.filter((edit) => {
      const ofData = edit.path[0] === 'data'
      if (!this.#load(ofData ? [edit] : [])) return false
      return JSON.stringify(this.#ask(ofData ? [] : [edit])) !== before
    })
  }

  /** Sets of `size` of these edits, with as few edits of the data as possible first. */
  tryEvery(size: number, edits: readonly Edit[]): void {
    const lease = edits.filter(({ path }) => path[0] === 'input')
    const data = edits.filter(({ path }) => path[0] === 'data')
    for (let ofData = 0; ofData <= size; ofData++) {
      for (const dataEdits of subsets(data, ofData)) {
        this.#tryAll(dataEdits, subsets(lease, size - ofData))
      }
    }
  }

  /** Under one set of edits of the data, every set of edits of the lease. */
  #tryAll(dataEdits: readonly Edit[], leaseSets: Iterable<readonly Edit[]>): void {
    if (!this.#load(dataEdits)) return
    for (const leaseEdits of leaseSets) {
      const change = [...leaseEdits, ...dataEdits]
      if (this.#isKnown(change)) continue
      if (this.#isSpent()) return
      this.tried++
      if (this.#ask(leaseEdits).effect === 'allow' && this.#isCovered(leaseEdits)) this.found.push(change)
    }
  }

  #isSpent(loading = false): boolean {
    const spent = loading || this.#evaluations >= maxEvaluations || performance.now() - this.#began >= maxMs
    if (spent) this.complete = false
    return spent
  }

  #load(edits: readonly Edit[]): boolean {
    if (edits.length === 0 && this.#pristine) return true
    // Going back to the data as it is ends a search, so it is not counted against it.
    if (edits.length > 0 && this.#isSpent(this.#loading >= maxLoading)) return false
    this.#pristine = false
    this.#loading += loading + this.#dataBytes / loadingBytes
    const data = applyEdits(this.#question.data, edits)
    try {
      this.#question.engine.setData(data as Tree)
      this.#pristine = edits.length === 0
      return true
    } catch {
      return false
    }
  }

  #ask(edits: readonly Edit[]) {
    this.#evaluations++
    const input = applyEdits(this.#question.input, edits)
    return ask(this.#question.engine, JSON.stringify(input))
  }

  /** The gate asks policy only where a grant covers the request. */
  #isCovered(edits: readonly Edit[]): boolean {
    const edited = policyInput.safeParse(applyEdits(this.#question.input, edits))
    return edited.success && grantCoversRequest(asked(edited.data)) === undefined
  }

  /** Of changes at the same places the first is enough, and so are a few of the lease and a few of the data. */
  #isKnown(change: Change): boolean {
    const places = placesOf(change)
    const ofData = usesData(change)
    const alike = this.found.filter((other) => usesData(other) === ofData)
    return alike.length >= maxChanges || alike.some((other) => placesOf(other) === places)
  }
}

function usesData(change: Change): boolean {
  return change.some(({ path }) => path[0] === 'data')
}

function placesOf(change: Change): string {
  return JSON.stringify(change.map(({ path }) => path))
}

/** Every set of `size` edits that can be made together. */
function* subsets(edits: readonly Edit[], size: number): Generator<readonly Edit[]> {
  if (size === 0) {
    yield []
    return
  }
  for (const [at, first] of edits.entries()) {
    for (const rest of subsets(edits.slice(at + 1), size - 1)) {
      if (!rest.some((edit) => collide(first, edit))) yield [first, ...rest]
    }
  }
}
