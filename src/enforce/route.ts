// CleanRequest in, the one backend operation it means out. Matching is literal, anchored and
// case-sensitive. Pure. A refusal found here waits in `mapped` until the caller has authenticated, so
// that strangers cannot learn which routes exist (test/enforce/route.test.ts).
import { isRefusal, type Refusal, refuse } from '../refusals.ts'
import type { Backend, Operation } from './operation.ts'
import type { CleanRequest, Mapped, QueryPair, Routed } from './stages.ts'
import { decodeSegment, lenientName } from './target.ts'

/** The operation map, compiled once: backends by authority and by path prefix, operations as a tree. */
export interface Router {
  readonly byAuthority: ReadonlyMap<string, Place>
  /** Places by the first segment of their prefix. */
  readonly byPrefix: ReadonlyMap<string, readonly Place[]>
}

interface Place {
  readonly backend: Backend
  readonly prefix: readonly string[]
  readonly root: Node
}

/** One segment position: literals are tried before the parameter. */
interface Node {
  readonly literals: Map<string, Node>
  /** The literals as `fold` leaves them. */
  readonly folded: Set<string>
  param: Node | undefined
  readonly operations: Map<string, Operation>
}

/** Compiles the map. Overlaps have been refused by the configuration. */
export function createRouter(backends: readonly Backend[]): Router {
  const byAuthority = new Map<string, Place>()
  const byPrefix = new Map<string, Place[]>()
  for (const backend of backends) {
    const root = node()
    for (const operation of backend.operations) insert(root, operation)
    for (const host of backend.hosts) byAuthority.set(host.toLowerCase(), { backend, prefix: [], root })
    if (backend.pathPrefix === undefined) continue
    const prefix = backend.pathPrefix.slice(1).split('/')
    const places = byPrefix.get(prefix[0]!) ?? []
    byPrefix.set(prefix[0]!, [...places, { backend, prefix, root }])
  }
  return { byAuthority, byPrefix }
}

function node(): Node {
  return { literals: new Map(), folded: new Set(), param: undefined, operations: new Map() }
}

function insert(root: Node, operation: Operation): void {
  let at = root
  // The pattern `/` means the path `/`: one empty segment.
  const segments = operation.segments.length === 0 ? [{ literal: '' }] : operation.segments
  for (const segment of segments) {
    if ('param' in segment) {
      at.param ??= node()
      at = at.param
    } else {
      const next = at.literals.get(segment.literal) ?? node()
      at.literals.set(segment.literal, next)
      at.folded.add(fold(segment.literal))
      at = next
    }
  }
  at.operations.set(operation.method, operation)
}

/** Finds the operation. HEAD is judged as the GET it mirrors (RFC 9110 §9.3.2). */
export function route(request: CleanRequest, router: Router): Routed {
  const place = findPlace(request, router)
  if (place === undefined) {
    return { request, backend: undefined, mapped: unmapped(request, 'no backend stands at this address') }
  }
  return { request, backend: place.backend, mapped: map(request, place) }
}

function findPlace(request: CleanRequest, router: Router): Place | undefined {
  const byAuthority = router.byAuthority.get(request.authority)
  if (byAuthority !== undefined) return byAuthority
  const places = router.byPrefix.get(request.segments[0] ?? '')
  return places?.find((place) => place.prefix.every((segment, at) => request.segments[at] === segment))
}

function map(request: CleanRequest, place: Place): Mapped | Refusal {
  const { backend, prefix, root } = place
  const segments = request.segments
  const allowed = new Set<string>()
  const found = find(root, segments, prefix.length, request.method, allowed)
  if (found === undefined) {
    return allowed.size === 0
      ? unmapped(request, `${backend.name} has no operation mapped at this path`)
      : refuse('method_unmapped', { allow: [...allowed], detail: `${request.method} is not mapped here` })
  }
  if (request.hasEncodedSlash && !found.allowEncodedSlash) return refuse('malformed_request', encodesSlash)
  const query = request.query.length === 0 ? noQuery : readQuery(request.query, found.opaqueQuery)
  if (isRefusal(query)) return query
  const params: Record<string, string> = Object.create(null)
  for (let at = 0; at < found.segments.length; at++) {
    const pattern = found.segments[at]!
    if ('param' in pattern) params[pattern.param] = decodeSegment(segments[prefix.length + at]!)
  }
  return {
    operation: found,
    params,
    resource: `${backend.name}:${fillResource(found.resource, params)}`,
    backendPath: prefix.length === 0 ? request.path : request.path.slice(backend.pathPrefix!.length),
    query,
  }
}

const encodesSlash = { detail: 'the path encodes a slash' }

/** Nothing is mapped; an encoded slash that no operation has opted in to is the worse mistake. */
function unmapped(request: CleanRequest, detail: string): Refusal {
  return request.hasEncodedSlash
    ? refuse('malformed_request', encodesSlash)
    : refuse('operation_unmapped', { detail })
}

const noQuery: Readonly<Record<string, string>> = Object.freeze(Object.create(null))

/** Depth first, literals before the parameter; gathers the methods of the paths it passes in `allowed`. */
function find(
  at: Node,
  segments: readonly string[],
  index: number,
  method: string,
  allowed: Set<string>,
): Operation | undefined {
  if (index === segments.length) {
    const found = at.operations.get(method) ?? (method === 'HEAD' ? at.operations.get('GET') : undefined)
    if (found === undefined) for (const known of at.operations.keys()) allowed.add(known)
    return found
  }
  const segment = segments[index]!
  const literal = at.literals.get(segment)
  const found = literal && find(literal, segments, index + 1, method, allowed)
  if (found !== undefined || at.param === undefined || segment === '') return found
  if (literal === undefined && resembles(at, segment)) return undefined
  return find(at.param, segments, index + 1, method, allowed)
}

/**
 * Whether a backend that folds letter case, decodes first, composes Unicode or reads a suffix as a format
 * (`/ME`, `/%40me`, `/me.json`) could take `segment` for one of the literals: then it is no parameter
 * either, or it would borrow the parameter's lower sensitivity.
 */
function resembles({ folded }: Node, segment: string): boolean {
  return folded.size > 0 && folded.has(fold(decodeSegment(segment)))
}

/** What the most lenient backend compares: NFKC without what is invisible, caseless, up to the first dot. */
function fold(text: string): string {
  const plain = /^[!-~]*$/.test(text)
    ? text
    : text.replace(/[\p{Cf}\p{Default_Ignorable_Code_Point}]/gu, '').normalize('NFKC')
  // Upper first: `ı` folds to `i` only that way.
  const caseless = plain.toUpperCase().toLowerCase()
  const dot = caseless.indexOf('.', 1)
  return dot < 0 ? caseless : caseless.slice(0, dot)
}

/** `customer/{id}` filled; `/`, `*` and `%` of an id are encoded, so an id never adds a segment. */
function fillResource(template: string, params: Readonly<Record<string, string>>): string {
  if (!template.includes('{')) return template
  return template.replace(/\{([^{}]+)\}/g, (_, name: string) => {
    const value = params[name]!
    return /[/*%]/.test(value) ? value.replace(/[/*%]/g, encodeMark) : value
  })
}

function encodeMark(mark: string): string {
  return mark === '/' ? '%2F' : mark === '*' ? '%2A' : '%25'
}

/** What policy may see: each name once for the most lenient reader, and written in one way only. */
function readQuery(
  pairs: readonly QueryPair[],
  opaque: readonly string[],
): Readonly<Record<string, string>> | Refusal {
  const query: Record<string, string> = Object.create(null)
  const seen = new Set<string>()
  for (const { name, value, unclear } of pairs) {
    if (opaque.includes(name)) continue
    const folded = lenientName(name)
    if (unclear || seen.has(folded)) {
      return refuse('malformed_request', {
        detail: 'a query parameter repeats, or is written in a way two parsers could read differently',
      })
    }
    seen.add(folded)
    query[name] = value
  }
  return query
}
