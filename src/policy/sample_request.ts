// A backend's operation in, a request of it as policy sees one out, with every parameter of the path `1`. For
// starters and benchmarks; never for a decision.
import type { Backend, Operation } from '../enforce/operation.ts'
import type { PolicyInput } from './input_schema.ts'

/** `input.request` of one made-up call of `operation`. */
export function sampleRequest({ name }: Backend, operation: Operation): PolicyInput['request'] {
  const { match, segments, verb, method, sensitivity, risk } = operation
  const params = segments.flatMap((segment) => ('param' in segment ? [[segment.param, '1'] as const] : []))
  return {
    backend: name,
    operation: match,
    verb,
    resource: `${name}:${operation.resource.replace(/\{\w+\}/g, '1')}`,
    sensitivity,
    risk,
    method,
    path: `/${segments.map((segment) => ('param' in segment ? '1' : segment.literal)).join('/')}`,
    amount: null,
    amount_whole: null,
    params: Object.fromEntries(params),
    query: {},
    body: null,
  }
}
