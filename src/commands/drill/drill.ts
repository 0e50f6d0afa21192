// The drill itself: a canary lease for each scope, revoked while it is in use everywhere, and a second lease
// under other names that has to go on. In: a plan. Out: what each order did. Leaves no lease alive.
import type { Config } from '../../config.ts'
import { revocationScopes } from '../../lease/lease.ts'
import type { Store } from '../../ports.ts'
import { count } from '../terminal.ts'
import { type CanaryLease, issueCanaryLease } from './canary_lease.ts'
import type { GateAddress } from './connection.ts'
import { type Fleet, openFleet } from './fleet.ts'
import type { Revoker } from './revoker.ts'
import { beginRound, type RoundResult, resumeRound } from './round.ts'

/** What a lease is refused by. */
const stops = ['suspend', ...revocationScopes] as const
type Stop = (typeof stops)[number]

/** What is done to a lease: suspended and resumed, or revoked by a scope. */
export type Exercise = Stop | 'resume'

export interface DrillPlan {
  readonly config: Config
  readonly store: Store
  readonly revoker: Revoker
  readonly gates: readonly GateAddress[]
  readonly boundMs: number
  readonly repeat: number
  /** Part of every name; no other run has it. */
  readonly run: string
  /** Told of what goes on, for people. */
  readonly tell: (line: string) => void
}

/** What one exercise did. */
export interface Exercised {
  readonly exercise: Exercise
  readonly result: RoundResult
}

/** What was found out. */
export interface DrillFindings {
  /** Processes that answered. */
  readonly workers: number
  readonly exercises: readonly Exercised[]
}

/** Runs it. Throws an Error that says what to do when the canary cannot be called. */
export async function drillRevocations(plan: DrillPlan): Promise<DrillFindings> {
  const leases = new DrillLeases(plan)
  let fleet: Fleet | undefined
  try {
    fleet = await openFleet(plan.gates, (await leases.issue('fleet')).token)
    plan.tell(
      `${count(fleet.workers, 'worker')} behind ${plan.gates.map(({ url }) => url.origin).join(', ')}`,
    )
    const exercises: Exercised[] = []
    for (let turn = 1; turn <= plan.repeat; turn++)
      exercises.push(...(await takeTurn(turn, fleet, leases, plan)))
    return { workers: fleet.workers, exercises }
  } finally {
    fleet?.close()
    await leases.revokeAll()
  }
}

/** Everything once. The bound of one round runs out while the next ones are under way. */
async function takeTurn(
  turn: number,
  fleet: Fleet,
  leases: DrillLeases,
  plan: DrillPlan,
): Promise<Exercised[]> {
  const pending: Promise<Exercised[]>[] = []
  const other = await leases.issue(`other-${turn}`)
  try {
    for (const stop of stops) {
      const lease = await leases.issue(`${stop}-${turn}`)
      const round = await beginRound(fleet, lease, plan.boundMs, () => leases.stop(stop, lease))
      plan.tell(plan.repeat === 1 ? `ordering: ${stop}` : `ordering: ${stop}, ${turn} of ${plan.repeat}`)
      const strays = await refusedAlthoughOther(fleet, other)
      pending.push(finish({ stop, lease, strays }, round.over, fleet, plan))
    }
  } catch (error) {
    // What is under way ends before the leases do.
    await Promise.all(pending)
    throw error
  }
  return (await Promise.all(pending)).flat()
}

/** Waits for the end of a round; what was suspended is resumed then. */
async function finish(
  { stop, lease, strays }: Ordered,
  over: Promise<RoundResult>,
  fleet: Fleet,
  { revoker, boundMs }: DrillPlan,
): Promise<Exercised[]> {
  const { problems, ...result } = await over
  const stopped = { exercise: stop, result: { ...result, problems: [...problems, ...strays] } }
  if (stop !== 'suspend') return [stopped]
  const resumed = await resumeRound(fleet, lease, boundMs, () => revoker.change('resume', lease.id))
  return [stopped, { exercise: 'resume', result: resumed }]
}

interface Ordered {
  readonly stop: Stop
  readonly lease: CanaryLease
  /** Where another lease was refused as well. */
  readonly strays: readonly string[]
}

/** Where a lease that nobody has revoked is refused. */
async function refusedAlthoughOther({ connections }: Fleet, other: CanaryLease): Promise<string[]> {
  const calls = await Promise.all(connections.map((each) => each.call(other.token)))
  return [
    ...new Set(
      calls.flatMap((call, at) => {
        if (call.outcome === 'accepted') return []
        const said = call.outcome === 'refused' ? `${call.status} ${call.code}` : call.cause
        return [
          `${connections[at]!.gate.url.origin}: a lease under other names was not accepted either (${said})`,
        ]
      }),
    ),
  ]
}

/** The leases of one drill, and which of them are still alive. */
class DrillLeases {
  readonly #plan: DrillPlan
  readonly #alive = new Set<string>()

  constructor(plan: DrillPlan) {
    this.#plan = plan
  }

  async issue(name: string): Promise<CanaryLease> {
    const { run, config, store } = this.#plan
    const lease = await issueCanaryLease(`${run}-${name}`, config, store)
    this.#alive.add(lease.id)
    return lease
  }

  async stop(stop: Stop, lease: CanaryLease): Promise<void> {
    const { revoker } = this.#plan
    if (stop === 'suspend') return revoker.change('suspend', lease.id)
    await revoker.revoke(stop, lease.values[stop])
    // Another token of the lease would live on.
    if (stop !== 'token') this.#alive.delete(lease.id)
  }

  /** What cannot be revoked ends by itself, and takes nothing from what was found out. */
  async revokeAll(): Promise<void> {
    const { revoker, tell } = this.#plan
    for (const id of this.#alive) {
      await revoker.revoke('lease', id).catch(() => tell(`${id} is left: it ends by itself within 5 minutes`))
    }
    this.#alive.clear()
  }
}
