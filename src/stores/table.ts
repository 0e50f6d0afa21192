// In: revocations. Out: which of them kills a lease. A filter of 2 MB answers for keys that are not there, slots
// and records hold the rest: 1,000,000 entries take about 100 MB. It never does I/O, never weakens an entry, and
// never takes a hash for a key.
import { hashOf, type LookUpKeys } from '../lease/key_hash.ts'
import { type RevocationScope, revocationKey } from '../lease/lease.ts'
import type { Revocation } from '../ports.ts'
import { doubtfulRevocation } from './doubtful.ts'
import { type Kept, Records } from './records.ts'
import { Slots } from './slots.ts'

const partBits = 10
const wordsPerPart = 512
/** Texts that many entries share are kept once; so many of them, none longer. The others stay with their entry. */
const sharedTexts = 4096
const sharedLength = 512

/** Revocations by key. */
export class RevocationTable {
  readonly #records = new Records()
  /** By the upper bits of the hash. */
  readonly #parts: readonly Slots[] = Array.from({ length: 2 ** partBits }, () => new Slots())
  /** Two bits of one word for each key. A part has words of its own, so that it can set them anew alone. */
  readonly #filter = new Uint32Array(2 ** partBits * wordsPerPart)
  readonly #numbers = new Map<string, number>()
  readonly #texts: string[] = []
  readonly #hash = (place: number) => this.#records.hash(place)
  readonly #moved = (hash: number, from: number, to: number) => this.#part(hash).move(hash, from, to)
  #size = 0
  #doubtful = 0

  get size(): number {
    return this.#size
  }

  /** Entries under whose key the store holds something that cannot be read. */
  get doubtful(): number {
    return this.#doubtful
  }

  /** The first entry that kills a lease issued at `issuedAt`. Allocates nothing unless there is one. */
  find(keys: LookUpKeys, issuedAt: number): Revocation | undefined {
    if (this.#size === 0) return undefined
    const { hashes } = keys
    for (let i = 0; i < keys.length; i++) {
      const hash = hashes === undefined ? hashOf(keys[i]!) : hashes[i]!
      if (!this.#mayHave(hash)) continue
      const place = this.#part(hash).find(keys[i]!, hash, this.#records)
      if (place !== 0 && this.#kills(place, issuedAt)) return this.#revocation(this.#records.read(place))
    }
    return undefined
  }

  #kills(place: number, issuedAt: number): boolean {
    // Negated, so that a lease whose `issuedAt` is not a number is revoked rather than spared.
    return this.#records.isDoubtful(place) || !(this.#records.cutoff(place) < issuedAt)
  }

  /** What stands under a key. */
  get(key: string): Revocation | undefined {
    const place = this.#place(key, hashOf(key))
    return place === 0 ? undefined : this.#revocation(this.#records.read(place))
  }

  /**
   * Merges an entry in, as `merge` (entry.ts) would; whether that changed anything. `generation`: the store was
   * seen to have it, at this look.
   */
  put(entry: Revocation, generation?: number): boolean {
    const key = revocationKey(entry.scope, entry.value, entry.issuer)
    const hash = hashOf(key)
    const known = this.#place(key, hash)
    const records = this.#records
    if (known !== 0 && entry.cutoff <= records.cutoff(known)) return this.#extend(known, entry, generation)
    const expiresAt = known === 0 ? entry.expiresAt : Math.max(records.expiresAt(known), entry.expiresAt)
    if (known !== 0) this.#remove(known, hash)
    const { cutoff, at } = entry
    const place = this.#add({ key, hash, cutoff, expiresAt, at, said: this.#said(entry), doubtful: false })
    if (generation !== undefined && entry.expiresAt >= expiresAt) records.see(place, generation)
    if (known !== 0) records.tidy(this.#moved)
    return true
  }

  /** Takes in an entry with an earlier cutoff than the one that stands, or the same. */
  #extend(place: number, { cutoff, expiresAt }: Revocation, generation: number | undefined): boolean {
    const records = this.#records
    const changed = this.#setDoubtful(place, false) || expiresAt > records.expiresAt(place)
    if (expiresAt > records.expiresAt(place)) records.extend(place, expiresAt)
    // One that the store has in a weaker form counts as lost.
    const stored = cutoff === records.cutoff(place) && expiresAt === records.expiresAt(place)
    if (generation !== undefined && stored) records.see(place, generation)
    return changed
  }

  /**
   * The store has something under this key that cannot be read: every lease under it is dead until an entry
   * that can be read is put there. Whether that changed anything.
   */
  doubt(key: string): boolean {
    const hash = hashOf(key)
    const place = this.#place(key, hash)
    if (place !== 0) return this.#setDoubtful(place, true)
    const never = Number.NEGATIVE_INFINITY
    this.#add({ key, hash, cutoff: never, expiresAt: never, at: 0, said: 0, doubtful: true })
    this.#doubtful++
    return true
  }

  isDoubtful(key: string): boolean {
    const place = this.#doubtful === 0 ? 0 : this.#place(key, hashOf(key))
    return place !== 0 && this.#records.isDoubtful(place)
  }

  #setDoubtful(place: number, isDoubtful: boolean): boolean {
    if (this.#records.isDoubtful(place) === isDoubtful) return false
    this.#records.setDoubtful(place, isDoubtful)
    this.#doubtful += isDoubtful ? 1 : -1
    return true
  }

  /** Entries in force at `now` (seconds) that look `generation` at the store has not come upon, and none in doubt. */
  *unseen(generation: number, now: number): Generator<Revocation> {
    const records = this.#records
    for (const part of this.#parts) {
      // All of a part at once: records move when others are replaced.
      const lost = part.places().filter((place) => {
        if (records.seen(place) === generation || records.isDoubtful(place)) return false
        return records.expiresAt(place) > now
      })
      yield* lost.map((place) => this.#revocation(records.read(place)))
    }
  }

  /** Forgets what expired before `before` (seconds) and is not in doubt, part by part; their keys. */
  *purge(before: number): Generator<string[]> {
    for (const [index, part] of this.#parts.entries()) {
      if (part.earliest < before) yield this.#purgePart(index, part, before)
    }
  }

  #purgePart(index: number, part: Slots, before: number): string[] {
    const records = this.#records
    const gone: string[] = []
    this.#filter.fill(0, index * wordsPerPart, (index + 1) * wordsPerPart)
    part.earliest = Number.POSITIVE_INFINITY
    for (const place of part.places()) {
      const [hash, expiresAt] = [records.hash(place), records.expiresAt(place)]
      if (expiresAt < before && !records.isDoubtful(place)) {
        gone.push(records.read(place).key)
        this.#remove(place, hash)
      } else {
        this.#note(hash, expiresAt)
      }
    }
    records.tidy(this.#moved)
    return gone
  }

  #part(hash: number): Slots {
    return this.#parts[hash >>> (32 - partBits)]!
  }

  #place(key: string, hash: number): number {
    return this.#mayHave(hash) ? this.#part(hash).find(key, hash, this.#records) : 0
  }

  #add(kept: Kept): number {
    const place = this.#records.add(kept)
    this.#part(kept.hash).add(place, kept.hash, this.#hash)
    this.#note(kept.hash, kept.expiresAt)
    this.#size++
    return place
  }

  #remove(place: number, hash: number): void {
    this.#setDoubtful(place, false)
    this.#part(hash).remove(place, hash)
    this.#records.remove(place)
    this.#size--
  }

  #note(hash: number, expiresAt: number): void {
    this.#filter[wordOf(hash)]! |= bitsOf(hash)
    const part = this.#part(hash)
    part.earliest = Math.min(part.earliest, expiresAt)
  }

  #mayHave(hash: number): boolean {
    const bits = bitsOf(hash)
    return (this.#filter[wordOf(hash)]! & bits) === bits
  }

  #said({ reason, by, issuer }: Revocation): number | string {
    const text = JSON.stringify(issuer === undefined ? [reason, by] : [reason, by, issuer])
    const known = this.#numbers.get(text)
    if (known !== undefined) return known
    if (text.length > sharedLength || this.#texts.length === sharedTexts) return text
    this.#numbers.set(text, this.#texts.length)
    return this.#texts.push(text) - 1
  }

  #revocation({ key, cutoff, expiresAt, at, said, doubtful }: Kept): Revocation {
    if (doubtful) return doubtfulRevocation(key)
    const text = typeof said === 'number' ? this.#texts[said]! : said
    const [reason, by, issuer] = JSON.parse(text) as [reason: string, by: string, issuer?: string]
    const scope = key.slice(0, key.indexOf('\n')) as RevocationScope
    const end = issuer === undefined ? key.length : key.length - issuer.length - 1
    const value = key.slice(scope.length + 1, end)
    return { scope, value, ...(issuer !== undefined && { issuer }), cutoff, expiresAt, reason, by, at }
  }
}

function wordOf(hash: number): number {
  return (hash >>> (32 - partBits)) * wordsPerPart + (hash & (wordsPerPart - 1))
}

/** Bits 9 to 18 of the hash choose them: neither those of the part nor those of the word. */
function bitsOf(hash: number): number {
  return (1 << (hash >>> 9)) | (1 << (hash >>> 14))
}
