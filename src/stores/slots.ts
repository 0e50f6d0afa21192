// In: places of records whose hashes begin alike. Out: the places a hash may stand for, by open addressing.
// One of a thousand small tables, so that growing one takes microseconds. It holds no key: records.ts does.

/** A place that was taken and is free again; a search goes on past it. */
const removed = 0xffff_ffff

/** Places by hash. */
export class Slots {
  count = 0
  /** No record here expires earlier than this, seconds. */
  earliest = Number.POSITIVE_INFINITY
  #slots = new Uint32Array(8)
  #taken = 0

  /** The first place for `hash` that `matches`; 0: there is none. Allocates nothing. */
  find(
    key: string,
    hash: number,
    records: { is(place: number, key: string, hash: number): boolean },
  ): number {
    const mask = this.#slots.length - 1
    for (let slot = hash & mask; ; slot = (slot + 1) & mask) {
      const place = this.#slots[slot]!
      if (place === 0) return 0
      if (place !== removed && records.is(place, key, hash)) return place
    }
  }

  /** Adds a place; `hashOf` tells the hashes of those that are there. */
  add(place: number, hash: number, hashOf: (place: number) => number): void {
    // A third stays free, so that a search ends soon.
    if ((this.#taken + 1) * 3 > this.#slots.length * 2) {
      const places = this.places()
      this.#slots = new Uint32Array(2 ** Math.ceil(Math.log2(Math.max(4, this.count) * 2)))
      this.#taken = 0
      for (const each of places) this.#enter(each, hashOf(each))
    }
    this.#enter(place, hash)
    this.count++
  }

  move(hash: number, from: number, to: number): void {
    this.#slots[this.#slotOf(from, hash)] = to
  }

  remove(place: number, hash: number): void {
    this.#slots[this.#slotOf(place, hash)] = removed
    this.count--
  }

  places(): number[] {
    const places: number[] = []
    for (const place of this.#slots) if (place !== 0 && place !== removed) places.push(place)
    return places
  }

  #slotOf(place: number, hash: number): number {
    const mask = this.#slots.length - 1
    let slot = hash & mask
    while (this.#slots[slot] !== place) slot = (slot + 1) & mask
    return slot
  }

  #enter(place: number, hash: number): void {
    const mask = this.#slots.length - 1
    let slot = hash & mask
    while (this.#slots[slot] !== 0) slot = (slot + 1) & mask
    this.#slots[slot] = place
    this.#taken++
  }
}
