// In: nodes that know where the primary is (sentinels, or nodes of a Cluster), and a way to ask one of them. Out:
// its address. Each is asked in turn and within a bound; one that tells of an earlier fail-over than another is
// not believed. It never sees a connection: redis_connect.ts does.
import { Unavailable } from '../ports.ts'

/** Where a server listens. */
export interface Address {
  readonly host: string
  readonly port: number
}

/** What one node says. */
export interface Primary extends Address {
  /** Rises with each fail-over; the same for all where nodes do not tell. */
  readonly epoch: number
  /** Further nodes that could be asked. */
  readonly others?: readonly Address[]
}

/** Asks one node; undefined: it does not know. Settles within a bound. */
export type AskNode = (node: Address) => Promise<Primary | undefined>

/** Finds the primary, as often as it is asked to. */
export class PrimaryFinder {
  readonly #given: readonly Address[]
  readonly #ask: AskNode
  #others: readonly Address[] = []
  #turn = 0
  #epoch = Number.NEGATIVE_INFINITY

  constructor(nodes: readonly Address[], ask: AskNode) {
    this.#given = nodes
    this.#ask = ask
  }

  /**
   * Where the primary is now. Begins with another node each time: the one that was asked before may be cut off
   * from the rest. Rejects when none answers, or none that knows of the last fail-over.
   */
  async find(): Promise<Primary> {
    let best: Primary | undefined
    let failure: unknown
    for (const node of this.#inTurn()) {
      try {
        const found = await this.#ask(node)
        if (found !== undefined && found.epoch >= this.#epoch) return this.#believe(found)
        if (found !== undefined && !(best !== undefined && best.epoch >= found.epoch)) best = found
      } catch (error) {
        failure ??= error
      }
    }
    // All of them, without exception, have been set up anew and count from the beginning.
    if (best !== undefined && failure === undefined) return this.#believe(best)
    throw failure ?? new Unavailable('no node knows the primary')
  }

  /** Where the primary is as the next node has it. Rejects when that does not know of the last fail-over. */
  async latest(): Promise<Primary> {
    const found = await this.#ask(this.#inTurn()[0]!)
    if (found !== undefined && found.epoch >= this.#epoch) return this.#believe(found)
    throw new Unavailable('a node is behind the others')
  }

  #believe(found: Primary): Primary {
    this.#epoch = found.epoch
    this.#others = found.others ?? []
    return found
  }

  #inTurn(): Address[] {
    const known = new Map(
      [...this.#given, ...this.#others].map((node) => [`${node.host} ${node.port}`, node]),
    )
    const nodes = [...known.values()]
    const first = this.#turn++ % nodes.length
    return [...nodes.slice(first), ...nodes.slice(0, first)]
  }
}
