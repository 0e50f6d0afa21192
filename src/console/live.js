// The one line on which the server tells what is new. In: whether decisions are wanted. Out: events, and whether the
// line is up. Comes back by itself, slower each time; then everything is to be read again, for what was missed.

/** @typedef {{ actions: any, decision: any, left_out: any, status: any, up: undefined, down: undefined }} Events */

const firstWait = 1_000
const longestWait = 30_000

/** Listens until closed. */
export class Live {
  /** @type {EventSource | undefined} */
  #source
  #decisions = false
  #wait = firstWait
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer
  /** @type {Map<string, Set<(data: any) => void>>} */
  #listeners = new Map()

  /**
   * @param {keyof Events} name
   * @param {(data: any) => void} listener
   * @returns {() => void} Stops listening.
   */
  on(name, listener) {
    const all = this.#listeners.get(name) ?? new Set()
    this.#listeners.set(name, all.add(listener))
    return () => all.delete(listener)
  }

  /**
   * Several at once.
   * @param {Partial<Record<keyof Events, (data: any) => void>>} listeners
   * @returns {() => void} Stops listening.
   */
  listen(listeners) {
    const names = /** @type {(keyof Events)[]} */ (Object.keys(listeners))
    const stops = names.map((name) => this.on(name, listeners[name] ?? (() => {})))
    return () => {
      for (const stop of stops) stop()
    }
  }

  open() {
    this.close()
    const source = new EventSource(this.#decisions ? '/events?decisions=1' : '/events')
    this.#source = source
    source.onopen = () => {
      this.#wait = firstWait
      this.#tell('up', undefined)
    }
    source.onerror = () => {
      // Its own way of coming back does not slow down, and stops for good after an error status.
      this.close()
      this.#tell('down', undefined)
      this.#timer = setTimeout(() => this.open(), this.#wait * (0.75 + Math.random() / 2))
      this.#wait = Math.min(longestWait, this.#wait * 2)
    }
    for (const name of ['actions', 'decision', 'left_out', 'status']) {
      source.addEventListener(name, ({ data }) => this.#tell(name, read(data)))
    }
  }

  close() {
    clearTimeout(this.#timer)
    this.#source?.close()
    this.#source = undefined
  }

  /** Decisions are many: they are sent while somebody looks. @param {boolean} wanted */
  wantDecisions(wanted) {
    if (wanted === this.#decisions) return
    this.#decisions = wanted
    if (this.#source !== undefined) this.open()
  }

  /** @param {string} name @param {unknown} data */
  #tell(name, data) {
    for (const listener of this.#listeners.get(name) ?? []) listener(data)
  }
}

/** @param {string} data */
function read(data) {
  try {
    return JSON.parse(data)
  } catch {
    return undefined
  }
}
