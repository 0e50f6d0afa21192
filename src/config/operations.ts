// In: `GET /customers/{id}` and `customer/{id}` as written. Out: method and segments, and which two patterns
// of a backend the router could not tell apart. Never: a guess which of two operations was meant.
import type { AmountSource, PatternSegment } from '../enforce/operation.ts'
import { servedMethods } from '../enforce/receive.ts'
import { type CallRate, parseRate } from '../lease/rate.ts'
import { isSegment, type Outcome } from './scalars.ts'

/** An operation's `match`, taken apart. `/` has no segments. */
export interface Match {
  readonly method: string
  readonly segments: readonly PatternSegment[]
}

/** Verbs that change nothing: the stage `observe` may use them, and their risk is low unless set. */
export const readingVerbs: readonly string[] = ['read', 'list']

const parameter = /^\{([A-Za-z][A-Za-z0-9_]*)\}$/

/** `METHOD /literal/{param}`: a method the gate serves, canonical literals, parameters once. */
export function parseMatch(text: string): Outcome<Match> {
  const [, method, path] = /^([A-Z-]+) (\/\S*)$/.exec(text) ?? []
  if (method === undefined || path === undefined)
    return { fault: 'write METHOD /path, such as GET /customers/{id}' }
  if (!servedMethods.includes(method)) return { fault: `choose one of ${servedMethods.join(', ')}` }
  const segments: PatternSegment[] = []
  for (const part of path === '/' ? [] : path.slice(1).split('/')) {
    const name = parameter.exec(part)?.[1]
    if (name !== undefined) segments.push({ param: name })
    else if (isSegment(part)) segments.push({ literal: part })
    else
      return {
        fault: 'write each segment as {param} or in plain characters: none empty, encoded, with ; or ..',
      }
  }
  const names = parameterNames(segments)
  if (new Set(names).size !== names.length) return { fault: 'give each parameter a name of its own' }
  return { value: { method, segments } }
}

/** `customer/{id}`: plain tokens and whole parameters, without the backend name. */
export function parseResource(text: string): Outcome<string> {
  const plain = /^[A-Za-z0-9_~-]+(\.[A-Za-z0-9_~-]+)*$/
  return text.split('/').every((part) => parameter.test(part) || plain.test(part))
    ? { value: text }
    : { fault: 'write plain segments and {param}, without the backend name: customer/{id}' }
}

/** `body.total`, `body.order.total` or `query.amount`: where a request says how much it moves. */
export function parseAmountSource(text: string): Outcome<AmountSource> {
  const [from, ...path] = text.split('.')
  const plain = path.length > 0 && path.every((name) => /^[A-Za-z0-9_~-]{1,64}$/.test(name))
  const [name] = path
  if (plain && from === 'body') return { value: { from, path } }
  if (plain && from === 'query' && name !== undefined && path.length === 1) return { value: { from, name } }
  return { fault: 'write body.NAME, body.NAME.NAME or query.NAME, such as body.total' }
}

/** `100/1s`, `600/1m burst 50`. */
export function parseCallRate(text: string): Outcome<CallRate> {
  const value = parseRate(text)
  return value === undefined
    ? { fault: 'write calls per time in s, m or h, up to 24h: 600/1m, or 600/1m burst 50' }
    : { value }
}

/** Parameters that a resource template uses and a match does not have. */
export function unknownParameters(resource: string, match: Match): string[] {
  const known = parameterNames(match.segments)
  const used = resource.split('/').flatMap((part) => parameter.exec(part)?.[1] ?? [])
  return used.filter((name) => !known.includes(name))
}

function parameterNames(segments: readonly PatternSegment[]): string[] {
  return segments.flatMap((segment) => ('param' in segment ? [segment.param] : []))
}

/**
 * Whether some path matches both and literal-before-parameter order cannot decide: both have the same shape,
 * or each is more specific in another segment (`/a/{x}` and `/{y}/b` both match `/a/b`).
 */
export function overlaps(a: Match, b: Match): boolean {
  if (a.method !== b.method || a.segments.length !== b.segments.length) return false
  let aMoreSpecific = false
  let bMoreSpecific = false
  for (const [index, left] of a.segments.entries()) {
    const right = b.segments[index]!
    if ('literal' in left && 'literal' in right && left.literal !== right.literal) return false
    if ('literal' in left && 'param' in right) aMoreSpecific = true
    if ('param' in left && 'literal' in right) bMoreSpecific = true
  }
  return aMoreSpecific === bMoreSpecific
}
