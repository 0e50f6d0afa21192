// What a policy is timed with. In: the operations of the configuration with the policy's data, or the lines of
// an audit file. Out: texts of policy inputs, by operation. Never more of them than asked for.
import type { Backend } from '../enforce/operation.ts'
import { sampleApproval, sampleInput } from './sample.ts'
import { sampleRequest } from './sample_request.ts'
import type { Tree } from './sources.ts'

/** Inputs that are timed together. */
export interface InputGroup {
  /** `crm GET /customers/{id}`. */
  readonly operation: string
  /** JSON texts; at least one. */
  readonly inputs: readonly string[]
}

/** On whose behalf the made-up requests are; absent members are looked for in the data. */
export interface Caller {
  readonly user?: string
  readonly profile?: string
}

/**
 * One request per operation, under a lease for exactly that, of high risk also once it is approved. Who asks: the first of `data.users` and
 * `data.profiles`, if the policy has these, else the user and profile of the sample input.
 */
export function inputsOf(backends: readonly Backend[], data: Tree, caller: Caller = {}): InputGroup[] {
  const { lease } = sampleInput
  const user = caller.user ?? firstKey(data.users) ?? lease.user
  const profile = caller.profile ?? firstKey(data.profiles) ?? lease.agent.profile
  return backends.flatMap((backend) =>
    backend.operations.map((operation) => {
      const request = sampleRequest(backend, operation)
      const { verb, resource, sensitivity } = request
      const input = {
        ...sampleInput,
        lease: {
          ...lease,
          user,
          agent: { ...lease.agent, profile },
          stage: 'execute',
          granted: [{ actions: [verb], resource, sensitivity }],
        },
        request,
        context: { ...sampleInput.context, provenance: 'trusted' },
      }
      // Such a call is decided on twice: when it is held, and once somebody has said yes.
      const inputs = operation.risk === 'high' ? [input, approved(input)] : [input]
      return {
        operation: `${backend.name} ${operation.match}`,
        inputs: inputs.map((each) => JSON.stringify(each)),
      }
    }),
  )
}

function approved(input: { readonly context: object }): object {
  return { ...input, context: { ...input.context, approval: sampleApproval } }
}

function firstKey(value: unknown): string | undefined {
  return isObject(value) ? Object.keys(value)[0] : undefined
}

/** What an audit file holds. */
export interface Recorded {
  readonly groups: readonly InputGroup[]
  /** Request records without an input: policy was not asked, or its input was not recorded. */
  readonly without: number
  /** Lines that are no JSON object. */
  readonly unreadable: number
}

/** The last `most` inputs of each operation among the records of an audit file. */
export async function recordedInputs(
  lines: AsyncIterable<string> | Iterable<string>,
  most: number,
): Promise<Recorded> {
  const byOperation = new Map<string, { readonly inputs: string[]; seen: number }>()
  let without = 0
  let unreadable = 0
  for await (const line of lines) {
    if (line === '') continue
    const record = parse(line)
    if (!isObject(record)) {
      unreadable++
      continue
    }
    // The gate's own events are not requests.
    if (record.event !== undefined) continue
    const input = isObject(record.policy) ? record.policy.input : undefined
    if (!isObject(input) || !isObject(input.request)) {
      without++
      continue
    }
    const operation = `${input.request.backend} ${input.request.operation}`
    const kept = byOperation.get(operation) ?? { inputs: [], seen: 0 }
    byOperation.set(operation, kept)
    kept.inputs[kept.seen++ % most] = JSON.stringify(input)
  }
  const groups = [...byOperation].map(([operation, { inputs }]) => ({ operation, inputs }))
  return { groups, without, unreadable }
}

function parse(line: string): unknown {
  try {
    return JSON.parse(line)
  } catch {
    return undefined
  }
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
