// What `policy check` is told about the operations that the configuration maps. In: backends. Out: plain data
// for the Rego toolchain. Never holds a credential or an address.
import type { Backend, Operation } from '../enforce/operation.ts'

/** One mapped endpoint, by what a rule can ask about it (regoc/operations.go). */
export interface MappedOperation {
  readonly backend: string
  readonly match: string
  /** As requests have them: GET serves HEAD too. */
  readonly methods: readonly string[]
  readonly verb: string
  readonly sensitivity: string
  readonly risk: string
  readonly params: readonly string[]
  /** Whether policy sees the request body. */
  readonly body: boolean
  readonly opaqueQuery: readonly string[]
}

/** Every operation of every backend. */
export function mappedOperations(backends: readonly Backend[]): MappedOperation[] {
  return backends.flatMap(({ name, operations }) => operations.map((operation) => mapped(name, operation)))
}

function mapped(backend: string, operation: Operation): MappedOperation {
  const { match, method, segments, verb, sensitivity, risk, body, opaqueQuery } = operation
  return {
    backend,
    match,
    methods: method === 'GET' ? ['GET', 'HEAD'] : [method],
    verb,
    sensitivity,
    risk,
    params: segments.flatMap((segment) => ('param' in segment ? [segment.param] : [])),
    body: body === 'json',
    opaqueQuery,
  }
}
