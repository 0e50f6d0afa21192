// What a lease reaches: the mapped operations that its details cover, each with how much one call of it could
// harm. Pure. Never counts less than the gate would let through.
import type { Backend, Operation } from '../enforce/operation.ts'
import type { LeaseDetail } from '../lease/allow.ts'
import { type Risk, risks, type Sensitivity, sensitivityCovers } from '../lease/lease.ts'

/** One operation within reach, by one detail of the lease. */
export interface Reach {
  readonly backend: string
  readonly operation: Operation
  /** What of it: the identifier of the detail that covers it. */
  readonly identifier: string
  /** Harm of one call, in points: sensitivity times risk. */
  readonly points: number
  /** Reading the one object there is a second time harms no more than the first. */
  readonly once: boolean
  /** Calls that the detail allows; undefined: any number. */
  readonly maxCalls: number | undefined
}

/** What a lease is, as far as its reach is concerned. */
export interface Reaching {
  readonly stage: string
  readonly details: readonly LeaseDetail[]
}

/** Each step of the scale weighs about three times the one before it. */
export const sensitivityPoints: Readonly<Record<Sensitivity, number>> = {
  public: 1,
  internal: 3,
  confidential: 10,
  restricted: 30,
}

export const riskPoints: Readonly<Record<Risk, number>> = { low: 1, medium: 3, high: 10 }

/** Every operation that the lease covers, once for each detail that covers it. */
export function reachOf({ stage, details }: Reaching, backends: readonly Backend[]): Reach[] {
  const reached: Reach[] = []
  for (const { name, operations } of backends) {
    for (const operation of operations) {
      // A write waits for a human in `draft`, and there is none in `observe`.
      if (stage !== 'execute' && !isReading(operation)) continue
      for (const detail of details) {
        const found = reach(name, operation, detail)
        if (found !== undefined) reached.push(found)
      }
    }
  }
  return reached
}

/** Whether an operation changes nothing. */
export function isReading({ verb }: Pick<Operation, 'verb'>): boolean {
  return verb === 'read' || verb === 'list'
}

function reach(backend: string, operation: Operation, detail: LeaseDetail): Reach | undefined {
  const { actions, identifier, sensitivity, constraints } = detail
  const objects = objectsOf(identifier, backend, operation.resource)
  const ceiling = constraints?.max_risk
  const covered =
    objects !== 'none' &&
    (actions.includes(operation.verb) || actions.includes('*')) &&
    sensitivityCovers(sensitivity, operation.sensitivity) &&
    (ceiling === undefined || risks.indexOf(ceiling) >= risks.indexOf(operation.risk))
  if (!covered) return undefined
  return {
    backend,
    operation,
    identifier,
    points: sensitivityPoints[operation.sensitivity] * riskPoints[operation.risk],
    once: objects === 'one' && operation.verb === 'read',
    maxCalls: constraints?.max_calls,
  }
}

/**
 * How many resources of a template such as `customer/{id}` an identifier covers. A parameter is one segment, so
 * both are compared segment by segment.
 */
function objectsOf(identifier: string, backend: string, template: string): 'none' | 'one' | 'many' {
  const prefix = `${backend}:`
  if (!identifier.startsWith(prefix)) return 'none'
  const named = identifier.slice(prefix.length).split('/')
  const everythingBelow = named.at(-1) === '*'
  const fixed = everythingBelow ? named.slice(0, -1) : named
  const pattern = template.split('/')
  const fits = everythingBelow ? pattern.length > fixed.length : pattern.length === fixed.length
  if (!fits || !fixed.every((segment, at) => isParameter(pattern[at]) || pattern[at] === segment))
    return 'none'
  return pattern.slice(fixed.length).some(isParameter) ? 'many' : 'one'
}

function isParameter(segment: string | undefined): boolean {
  return segment?.startsWith('{') === true
}
