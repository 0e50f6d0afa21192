// A blast radius as people read it in a terminal. Pure.
import type { BlastRadius } from '../../broker/blast_radius.ts'
import { isReading, type Reach, riskPoints, sensitivityPoints } from '../../broker/reach.ts'
import { sensitivities } from '../../lease/lease.ts'
import { count, duration } from '../terminal.ts'

/** `90`, `9.0 k`, `1.2 M`. */
export function pointsText(points: number): string {
  for (const [unit, size] of [
    ['M', 1e6],
    ['k', 1e3],
  ] as const) {
    if (points >= size) return `${(points / size).toFixed(1)} ${unit}`
  }
  return String(Math.round(points))
}

/** `-98 %`: by how much `after` is less. */
export function reduction(before: number, after: number): string {
  const percent = ((before - after) / before) * 100
  // Only what is over is said to be over.
  return `-${after > 0 ? Math.min(99.9, percent).toFixed(percent > 99 ? 1 : 0) : '100'} %`
}

/** `3 operations up to confidential, 1 of them writes`. */
export function operationsText(reach: readonly Reach[]): string {
  if (reach.length === 0) return 'nothing'
  const operations = new Set(reach.map(({ operation }) => operation))
  const highest = Math.max(...reach.map(({ operation }) => sensitivities.indexOf(operation.sensitivity)))
  const writes = [...operations].filter((operation) => !isReading(operation)).length
  const writing = writes === 0 ? '' : `, ${writes} of them writes`
  return `${count(operations.size, 'operation')} up to ${sensitivities[highest]}${writing}`
}

/** What a point is worth, by two examples. */
export const pointsExample = `reading something confidential is ${sensitivityPoints.confidential} points, changing it at medium risk ${sensitivityPoints.confidential * riskPoints.medium}`

/** The rows of `lease show`: `9.0 k points of harm at most, by 900 calls within 15m`, and what is within reach. */
export function radiusTexts(radius: BlastRadius): string[] {
  const calls = `${radius.calls.toLocaleString('en')} ${radius.calls === 1 ? 'call' : 'calls'}`
  return [
    `${pointsText(radius.points)} points of harm at most, by ${calls} within ${duration(radius.windowSeconds)}`,
    operationsText(radius.reach),
  ]
}
