// In: revocations with their keys. Out: the same, as bytes in slabs of a megabyte: a third of what objects take,
// nothing for the garbage collector to visit, and nothing to copy as they grow in number. It looks nothing up:
// table.ts does.

/** When a revocation holds, and the rest of it. Times are seconds. */
export interface Kept {
  readonly key: string
  readonly hash: number
  readonly cutoff: number
  readonly expiresAt: number
  readonly at: number
  /** A number for a text that others have too, or the text itself. */
  readonly said: number | string
  /** The store holds something under this key that cannot be read. */
  readonly doubtful: boolean
}

/*
 * A record, from a multiple of eight: cutoff, expiresAt, at (64 bits each); hash, said, length of the key with
 * its flags, generation (32 bits each); the key, and the text where `said` is its length and not its number.
 */
const head = 40
const [expiresWord, atWord] = [1, 2]
const [hashWord, saidWord, keyWord, seenWord] = [6, 7, 8, 9]
/** Flags in front of the length of a key; `wide`: two bytes for each UTF-16 unit of key and text. */
const [dead, doubtful, wide] = [0x8000_0000, 0x4000_0000, 0x2000_0000]
const lengthBits = 0x1fff_ffff
/** In front of the length of a text that stands in the record. */
const inline = 0x8000_0000
/** Eights of bytes in a slab, as a power of two. */
const slabBits = 17

/** A record longer than a slab has one of its own. */
class Slab {
  readonly bytes: Buffer
  readonly floats: Float64Array
  readonly words: Uint32Array
  used = 0
  dead = 0

  constructor(size: number) {
    const buffer = new ArrayBuffer(size)
    this.bytes = Buffer.from(buffer)
    this.floats = new Float64Array(buffer)
    this.words = new Uint32Array(buffer)
  }
}

/** Revocations by place: a number above 0 and below 2^32 - 1, which stands until `tidy`. */
export class Records {
  readonly #slabs: (Slab | undefined)[] = []
  /** Places given back, to be used again. */
  readonly #free: number[] = []
  /** Slabs more than half of which is dead. */
  readonly #sparse = new Set<number>()
  #current = -1

  /** Whether this is the record of a key. Allocates nothing. */
  is(place: number, key: string, hash: number): boolean {
    const slab = this.#slab(place)
    const word = wordOf(place)
    if (slab.words[word + hashWord] !== hash >>> 0) return false
    const flagged = slab.words[word + keyWord]!
    const step = (flagged & wide) === 0 ? 1 : 2
    if ((flagged & lengthBits) !== key.length * step) return false
    const { bytes } = slab
    for (let i = 0, at = word * 4 + head; i < key.length; i++, at += step) {
      const unit = step === 1 ? bytes[at]! : bytes[at]! | (bytes[at + 1]! << 8)
      if (unit !== key.charCodeAt(i)) return false
    }
    return true
  }

  hash(place: number): number {
    return this.#slab(place).words[wordOf(place) + hashWord]!
  }

  cutoff(place: number): number {
    return this.#slab(place).floats[wordOf(place) >>> 1]!
  }

  expiresAt(place: number): number {
    return this.#slab(place).floats[(wordOf(place) >>> 1) + expiresWord]!
  }

  isDoubtful(place: number): boolean {
    return (this.#slab(place).words[wordOf(place) + keyWord]! & doubtful) !== 0
  }

  /** The look at the store that came upon it last; 0: none. */
  seen(place: number): number {
    return this.#slab(place).words[wordOf(place) + seenWord]!
  }

  /** All of a record, as a value of its own. */
  read(place: number): Kept {
    const { floats, words } = this.#slab(place)
    const word = wordOf(place)
    const said = words[word + saidWord]!
    const keyFrom = word * 4 + head
    const keyEnd = keyFrom + (words[word + keyWord]! & lengthBits)
    return {
      key: this.#text(place, keyFrom, keyEnd),
      hash: words[word + hashWord]!,
      cutoff: floats[word >>> 1]!,
      expiresAt: floats[(word >>> 1) + expiresWord]!,
      at: floats[(word >>> 1) + atWord]!,
      said: said < inline ? said : this.#text(place, keyEnd, keyEnd + (said - inline)),
      doubtful: this.isDoubtful(place),
    }
  }

  /** Adds a record that no look has seen. Returns its place. */
  add(kept: Kept): number {
    const { key, hash, cutoff, expiresAt, at, said } = kept
    const text = typeof said === 'string' ? said : ''
    const flag = isNarrow(key) && isNarrow(text) ? 0 : wide
    const width = flag === 0 ? 1 : 2
    const place = this.#take(eight(head + (key.length + text.length) * width))
    const { bytes, floats, words } = this.#slab(place)
    const word = wordOf(place)
    floats[word >>> 1] = cutoff
    floats[(word >>> 1) + expiresWord] = expiresAt
    floats[(word >>> 1) + atWord] = at
    words[word + hashWord] = hash
    words[word + saidWord] = typeof said === 'number' ? said : inline + text.length * width
    words[word + keyWord] = key.length * width + flag + (kept.doubtful ? doubtful : 0)
    words[word + seenWord] = 0
    const encoding = flag === 0 ? 'latin1' : 'utf16le'
    bytes.write(key, word * 4 + head, encoding)
    if (text !== '') bytes.write(text, word * 4 + head + key.length * width, encoding)
    return place
  }

  extend(place: number, expiresAt: number): void {
    this.#slab(place).floats[(wordOf(place) >>> 1) + expiresWord] = expiresAt
  }

  setDoubtful(place: number, isDoubtful: boolean): void {
    if (this.isDoubtful(place) !== isDoubtful) this.#slab(place).words[wordOf(place) + keyWord]! ^= doubtful
  }

  see(place: number, generation: number): void {
    this.#slab(place).words[wordOf(place) + seenWord] = generation
  }

  remove(place: number): void {
    const index = slabOf(place)
    const slab = this.#slab(place)
    slab.words[wordOf(place) + keyWord]! |= dead
    slab.dead += this.#size(slab, wordOf(place))
    if (index !== this.#current && slab.dead * 2 > slab.used) this.#sparse.add(index)
  }

  /** Moves what lives in one slab that is mostly dead and frees it; takes a millisecond or two, and is told. */
  tidy(moved: (hash: number, from: number, to: number) => void): void {
    for (const index of this.#sparse) {
      this.#sparse.delete(index)
      const slab = this.#slabs[index]!
      for (let byte = 0; byte < slab.used; byte += this.#size(slab, byte / 4)) {
        const word = byte / 4
        if ((slab.words[word + keyWord]! & dead) !== 0) continue
        const size = this.#size(slab, word)
        const to = this.#take(size)
        slab.bytes.copy(this.#slab(to).bytes, wordOf(to) * 4, byte, byte + size)
        moved(slab.words[word + hashWord]!, placeOf(index, byte), to)
      }
      this.#slabs[index] = undefined
      this.#free.push(index)
      return
    }
  }

  #slab(place: number): Slab {
    return this.#slabs[slabOf(place)]!
  }

  #take(size: number): number {
    const slab = this.#slabs[this.#current]
    if (slab === undefined || slab.used + size > slab.bytes.length) return this.#takeNew(size)
    slab.used += size
    return placeOf(this.#current, slab.used - size)
  }

  #takeNew(size: number): number {
    const before = this.#slabs[this.#current]
    if (before !== undefined && before.dead * 2 > before.used) this.#sparse.add(this.#current)
    this.#current = this.#free.pop() ?? this.#slabs.length
    const slab = new Slab(Math.max(size, 8 << slabBits))
    this.#slabs[this.#current] = slab
    slab.used = size
    return placeOf(this.#current, 0)
  }

  #size({ words }: Slab, word: number): number {
    const said = words[word + saidWord]!
    return eight(head + (words[word + keyWord]! & lengthBits) + (said < inline ? 0 : said - inline))
  }

  #text(place: number, from: number, to: number): string {
    const { bytes, words } = this.#slab(place)
    const isWide = (words[wordOf(place) + keyWord]! & wide) !== 0
    return bytes.toString(isWide ? 'utf16le' : 'latin1', from, to)
  }
}

/** Where in its slab, in words of 32 bits. */
function wordOf(place: number): number {
  return ((place - 1) & ((1 << slabBits) - 1)) * 2
}

function slabOf(place: number): number {
  return (place - 1) >>> slabBits
}

/** One more than the number of the eight bytes it begins with: 0 is no place. */
function placeOf(slab: number, byte: number): number {
  return slab * 2 ** slabBits + byte / 8 + 1
}

function eight(bytes: number): number {
  return (bytes + 7) & ~7
}

function isNarrow(text: string): boolean {
  for (let i = 0; i < text.length; i++) if (text.charCodeAt(i) > 0xff) return false
  return true
}
