// In: a store. Out: two gates on it, agents that call all the time, an operator that revokes all the time, and
// what came of it. A fault is inflicted by whoever holds it; `finish` says whether any acknowledged revocation
// failed to hold.
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { eventually, grantsFor, publicOrigin } from '../support/gate.ts'
import { type Json, type TestIssuer, testIssuer } from '../support/tokens.ts'
import { type GateProcess, layShared, type Machine, startGateProcess, thisMachine } from './gate_process.ts'
import { type Figures, judge } from './judge.ts'
import { type Lease, startCountingBackend, Traffic } from './traffic.ts'

/** What all runs share: the compiled policy and the issuer. */
export interface Ground extends AsyncDisposable {
  readonly dir: string
  readonly issuer: TestIssuer
}

export async function openGround(): Promise<Ground> {
  const dir = mkdtempSync(join(tmpdir(), 'leasegate-faults-'))
  const issuer = testIssuer({ audience: publicOrigin })
  await layShared(dir, issuer)
  return { dir, issuer, [Symbol.asyncDispose]: async () => rmSync(dir, { recursive: true, force: true }) }
}

/** How one gate reaches the store, and from where. */
export interface GatePlace {
  readonly state: Json
  readonly machine?: Machine
  /** The backend as that machine reaches it; default: as this one does. */
  readonly backendUrl?: (backend: { readonly port: number }) => Promise<string>
}

/** Everything after the acknowledgement by more than this must be refused: `max_staleness`, and no margin. */
export const maxStalenessMs = 2000
/** As the configuration has it. */
export const maxStaleness = `${maxStalenessMs}ms`

/** Leases that are revoked in one run, at most; and those that never are. */
const doomedLeases = 400
const controlLeases = 8
/** Requests a second to each gate: half under leases that are good, half under revoked ones and the next. */
const perSecond = 120
const revocationsPerSecond = 15

export class Deployment implements AsyncDisposable {
  readonly gates: GateProcess[] = []
  readonly #ground: Ground
  readonly #dir: string
  readonly #traffic = new Traffic()
  readonly #acknowledged = new Map<string, number>()
  readonly #control: Lease[]
  readonly #doomed: Lease[]
  #backend: Awaited<ReturnType<typeof startCountingBackend>> | undefined
  #revoking: Promise<void> = Promise.resolve()
  #revokers: GateProcess[] = []
  #asked = 0
  #ended = false

  private constructor(ground: Ground, name: string) {
    this.#ground = ground
    this.#dir = join(ground.dir, name)
    mkdirSync(this.#dir, { recursive: true })
    this.#control = Array.from({ length: controlLeases }, (_, at) => this.#lease(`control${at}`))
    this.#doomed = Array.from({ length: doomedLeases }, (_, at) => this.#lease(`doomed${at}`))
  }

  /** Starts a gate at each place and waits until they serve; then everybody calls and the operator revokes. */
  static async open(ground: Ground, name: string, places: readonly GatePlace[]): Promise<Deployment> {
    const deployment = new Deployment(ground, name)
    try {
      deployment.#backend = await startCountingBackend()
      const names = ['A', 'B', 'C']
      deployment.gates.push(
        ...(await Promise.all(places.map((place, at) => deployment.#startGate(names[at]!, place)))),
      )
      await deployment.#served(deployment.gates, 'gates that serve')
      deployment.#begin()
      return deployment
    } catch (error) {
      await deployment[Symbol.asyncDispose]()
      throw error
    }
  }

  /** How many revocations have been acknowledged. */
  get acknowledged(): number {
    return this.#acknowledged.size
  }

  /** From now on only these gates are asked to revoke. */
  revokeThrough(...gates: GateProcess[]): void {
    this.#revokers = gates
  }

  /** Waits until `count` more revocations have been acknowledged. */
  async moreRevocations(count: number): Promise<void> {
    const wanted = this.#acknowledged.size + count
    await eventually(() => this.#acknowledged.size >= wanted, `${count} more revocations`, 120)
  }

  /** One more gate, which has seen nothing of what was before. */
  async startAnew(place: GatePlace): Promise<GateProcess> {
    const gate = await this.#startGate(`N${this.gates.length}`, place)
    this.gates.push(gate)
    return gate
  }

  /** Waits until every gate serves leases that are good. */
  healed(gates: readonly GateProcess[] = this.gates): Promise<void> {
    return this.#served(gates, 'gates that serve again')
  }

  /**
   * Ends revoking, lets the bound pass under load, then asks every gate about every lease that was
   * acknowledged as revoked. `lost`: those that some gate did not refuse for being revoked.
   */
  async finish(mendedMs: number, { heals }: { heals: boolean }): Promise<Figures & { lost: string[] }> {
    this.#ended = true
    await this.#revoking
    await sleep(maxStalenessMs + 500)
    await this.#traffic.stop()
    const asks = [...this.#traffic.asks]
    const lost: string[] = []
    for (const gate of this.gates) {
      for (const lease of this.#doomed.filter(({ id }) => this.#acknowledged.has(id))) {
        const { status, code, number } = await this.#traffic.ask(gate, lease)
        const refused = code === 'lease_revoked' || (!heals && status === 503)
        if (!refused || this.#backend!.reached.has(number)) {
          lost.push(`${gate.name} ${lease.id}: ${status} ${code}`)
        }
      }
    }
    const { reached } = this.#backend!
    const control = new Set(this.#control.map(({ id }) => id))
    const acknowledged = this.#acknowledged
    const figures = judge({ asks, reached, acknowledged, control, boundMs: maxStalenessMs, mendedMs })
    return { ...figures, lost }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#ended = true
    await Promise.all(this.gates.map((gate) => gate.kill()))
    await this.#revoking
    await this.#traffic.stop()
    await this.#backend?.close()
    rmSync(this.#dir, { recursive: true, force: true })
  }

  async #startGate(
    name: string,
    { state, machine = thisMachine, backendUrl }: GatePlace,
  ): Promise<GateProcess> {
    const backend = this.#backend!
    const { dir: shared, issuer } = this.#ground
    return startGateProcess({
      name,
      dir: this.#dir,
      shared,
      issuer,
      state,
      machine,
      backendUrl: backendUrl === undefined ? backend.url : await backendUrl(backend),
    })
  }

  async #served(gates: readonly GateProcess[], what: string): Promise<void> {
    const served = async (gate: GateProcess) =>
      (await this.#traffic.ask(gate, this.#control[0]!)).status === 200
    const waits = gates.map(async (gate) => {
      try {
        await eventually(() => served(gate), what, 60)
      } catch (error) {
        const last = this.#traffic.asks.findLast((ask) => ask.gate === gate.name)
        const facts = [`last answer ${last?.status}`, await gate.readiness(), gate.output()]
        throw new Error(`gate ${gate.name}: ${facts.join('\n')}`, { cause: error })
      }
    })
    await Promise.all(waits)
  }

  #begin(): void {
    this.#revokers = [...this.gates]
    for (const gate of this.gates) this.#traffic.run(gate, perSecond, (turn) => this.#pick(turn))
    this.#revoking = this.#revoke()
  }

  /** Every other request is under a good lease; the rest go round those that were asked to be revoked, newest first. */
  #pick(turn: number): Lease {
    const at = turn >> 1
    if (turn % 2 === 0) return this.#control[at % this.#control.length]!
    const known = Math.min(this.#asked + 1, this.#doomed.length)
    // Every third is among the newest: their bound is passing now.
    const back = at % 3 === 0 ? at % Math.min(30, known) : at % known
    return this.#doomed[known - 1 - back]!
  }

  async #revoke(): Promise<void> {
    while (!this.#ended && this.#asked < this.#doomed.length) {
      await sleep(1000 / revocationsPerSecond)
      const at = this.#asked++
      const gate = this.#revokers[at % this.#revokers.length]
      if (gate === undefined) continue
      const { id } = this.#doomed[at]!
      const status = await gate.revoke({ ...scopeOf(id, at), reason: 'fault run' })
      if (status === 201) this.#acknowledged.set(id, performance.now())
    }
  }

  #lease(name: string): Lease {
    const { issuer } = this.#ground
    const usual = issuer.claims() as { act: Json; lease: Json & { agent: Json; task: Json } }
    const id = `lse_${name}`
    const token = issuer.token({
      jti: `ltk_${name}`,
      authorization_details: grantsFor('crm', ['customer/*']),
      lease: { ...usual.lease, id, session: `ses_${name}`, task: { ...usual.lease.task, id: `T-${name}` } },
    })
    return { id, token }
  }
}

/** What kills that lease and no other: its id, its session or its task. */
function scopeOf(id: string, at: number): Readonly<Record<string, string>> {
  const name = id.slice('lse_'.length)
  const task = `jira:T-${name}`
  return [{ lease: id }, { session: `ses_${name}` }, { task }][at % 3]!
}
