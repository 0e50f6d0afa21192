// In: one fault. Out: its figures and a verdict: no request under a revoked lease passed after the bound, no
// acknowledged revocation was lost, and the gates served again by themselves.
import { setTimeout as sleep } from 'node:timers/promises'
import { Deployment, type GatePlace, type Ground } from './deployment.ts'
import type { Figures } from './judge.ts'

/** A store with a way to hurt it. */
export interface Site {
  /** One place per gate. */
  readonly places: readonly GatePlace[]
  /** Where a gate is started afterwards, which must know all that was revoked; absent: none is. */
  readonly anew?: GatePlace
  close(): Promise<void>
}

export interface Fault<S extends Site = Site> {
  /** As `--only` names it. */
  readonly name: string
  /** What happens, in words. */
  readonly what: string
  /** Whether it is among the handful that every test run inflicts. */
  readonly short?: true
  /** Whether the gates are to serve again by themselves; default true. */
  readonly heals?: false
  open(): Promise<S>
  /** Brings the fault about, and mends it before it resolves. */
  inflict(deployment: Deployment, site: S): Promise<void>
}

/** Why a fault cannot be inflicted on this machine. */
export class NotHere extends Error {}

export interface Outcome extends Figures {
  readonly name: string
  readonly lost: readonly string[]
  readonly passed: boolean
}

/** Before the fault and after it, revocations and requests go on for so long. */
const settleMs = 700

/** Inflicts `fault` and judges what came of it. Throws `NotHere`, or when the gates do not serve again. */
export async function suffer(fault: Fault, ground: Ground): Promise<Outcome> {
  const site = await fault.open()
  try {
    await using deployment = await Deployment.open(ground, fault.name, site.places)
    await deployment.moreRevocations(5)
    await fault.inflict(deployment, site)
    const mendedMs = performance.now()
    const heals = fault.heals !== false
    if (heals) {
      await deployment.healed()
      await deployment.moreRevocations(5)
    }
    await sleep(settleMs)
    if (site.anew !== undefined) await deployment.startAnew(site.anew)
    const found = await deployment.finish(mendedMs, { heals })
    const { acknowledged, tested, accepted, lost } = found
    // A run in which nothing was revoked or nothing was tried proves nothing.
    const passed = accepted.length === 0 && lost.length === 0 && acknowledged >= 5 && tested > 0
    return { name: fault.name, ...found, passed }
  } finally {
    await site.close()
  }
}

/** One line of figures. */
export function describe(outcome: Outcome): string {
  const { name, passed, acknowledged, tested, accepted, lost, latestMs, unavailableMs, healedMs } = outcome
  const seconds = (ms: number) => `${(ms / 1000).toFixed(1)} s`
  const facts = [
    `${acknowledged} acknowledged`,
    `${tested} tried after the bound`,
    `${accepted.length} accepted`,
    `${lost.length} lost`,
    `last let through after ${Math.round(latestMs)} ms`,
    `not served for ${seconds(unavailableMs)}`,
    `healed in ${seconds(healedMs)}`,
  ]
  return [
    `${passed ? '✓' : '✗'} ${name}: ${facts.join(', ')}`,
    ...accepted.slice(0, 3),
    ...lost.slice(0, 3),
  ].join('\n    ')
}
