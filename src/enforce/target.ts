// The one parser of a request target: origin-form, absolute-form or `*` in; path, segments and query out.
// Reads, never repairs: whatever two parsers could read differently is a problem (standards: RFC 3986,
// RFC 9112 §3.2; classes A10, A11 and B of the bad-input tests).
import type { QueryPair } from './stages.ts'

/** A target that can be read in one way only. */
export interface Target {
  /** Authority of the absolute form, lower case. */
  readonly authority: string | undefined
  readonly path: string
  readonly segments: readonly string[]
  readonly hasEncodedSlash: boolean
  readonly queryText: string | undefined
  readonly query: readonly QueryPair[]
}

/** Why a target is refused; `credential`: a token stands in the query. */
export type TargetProblem = { readonly problem: string; readonly kind?: 'credential' }

const pathOctets = /^[A-Za-z0-9\-._~!$&'()*+,=:@/%]*$/
const queryOctets = /^[A-Za-z0-9\-._~!$&'()*+,=:@/?%]*$/
const unreserved = /^[A-Za-z0-9\-._~]$/
const absoluteForm = /^https?:\/\/([^/?#]*)(.*)$/is
// Once decoded these would be a separator, end the path or start another decoding round.
const delimitersInPath = /[\\?#;%]/
const controls = /\p{Cc}/u

/** Reads `target` (never `*`); `encodedSlash` lets `%2F` through as data for routes that opted in. */
export function parseTarget(target: string, encodedSlash: boolean): Target | TargetProblem {
  let rest = target
  let authority: string | undefined
  if (target.charCodeAt(0) !== 0x2f) {
    const absolute = absoluteForm.exec(target)
    if (absolute === null) return { problem: 'the target is neither a path nor an http URL' }
    authority = absolute[1]!.toLowerCase()
    if (authority.includes('@')) return { problem: 'the target carries userinfo' }
    rest = absolute[2]!.startsWith('/') ? absolute[2]! : `/${absolute[2]!}`
  }
  const mark = rest.indexOf('?')
  const path = mark < 0 ? rest : rest.slice(0, mark)
  const queryText = mark < 0 ? undefined : rest.slice(mark + 1)
  const read = parsePath(path, encodedSlash)
  if ('problem' in read) return read
  const query = queryText === undefined ? [] : parseQuery(queryText)
  if ('problem' in query) return query
  return { authority, path, ...read, queryText, query }
}

function parsePath(
  path: string,
  encodedSlash: boolean,
): Pick<Target, 'segments' | 'hasEncodedSlash'> | TargetProblem {
  if (!pathOctets.test(path)) return { problem: 'the path holds an octet that has to be percent-encoded' }
  const segments = path.split('/')
  segments.shift()
  let hasEncodedSlash = false
  for (let at = 0; at < segments.length; at++) {
    const segment = segments[at]!
    if (segment === '' && at < segments.length - 1) return { problem: 'the path has an empty segment' }
    if (segment.endsWith('..') || segment === '.') return { problem: 'the path has a dot segment' }
    if (!segment.includes('%')) continue
    const problem = problemInSegment(segment, encodedSlash)
    if (problem !== undefined) return { problem }
    hasEncodedSlash ||= /%2f/i.test(segment)
  }
  return { segments, hasEncodedSlash }
}

function problemInSegment(segment: string, encodedSlash: boolean): string | undefined {
  const decoded = decodeOnce(segment)
  if (decoded === undefined) return 'the path has a malformed percent sequence'
  if (decoded.problem !== undefined) return `the path ${decoded.problem}`
  if (decoded.encoded.some((char) => delimitersInPath.test(char))) return 'the path encodes a delimiter'
  if (decoded.text.trim() !== decoded.text) return 'a path segment begins or ends with whitespace'
  if (!decoded.encoded.includes('/')) return undefined
  if (!encodedSlash) return 'the path encodes a slash'
  const parts = decoded.text.split('/')
  return parts.some((part) => part === '' || part === '.' || part.endsWith('..'))
    ? 'the path hides a dot segment or an empty segment behind an encoded slash'
    : undefined
}

/** Query parameters in order. Names of a credential or a method override are problems. */
function parseQuery(text: string): QueryPair[] | TargetProblem {
  if (!queryOctets.test(text)) return { problem: 'the query holds an octet that has to be percent-encoded' }
  const pairs: QueryPair[] = []
  for (const piece of text.split('&')) {
    if (piece === '') continue
    const equals = piece.indexOf('=')
    const name = decodeForm(equals < 0 ? piece : piece.slice(0, equals))
    const value = decodeForm(equals < 0 ? '' : piece.slice(equals + 1))
    if (name === undefined || value === undefined) {
      return { problem: 'the query has a percent sequence that is malformed, a control or not UTF-8' }
    }
    const known = lenientName(name.text)
    if (known === 'access_token') return { problem: 'a token in the query', kind: 'credential' }
    if (known === '_method') return { problem: 'the query overrides the method' }
    const unclear = name.unclear || value.unclear || known === '' || /^\s|\s$|[[\]?]/.test(name.text)
    pairs.push({ name: name.text, value: value.text, unclear })
  }
  return pairs
}

/**
 * A decoded parameter name as the most lenient reader has it: PHP trims it, ends it at NUL and `[`, and
 * reads `.` and space as `_`; others fold letter case.
 */
export function lenientName(name: string): string {
  return name.split(/[\0[]/, 1)[0]!.trim().replace(/[ .]/g, '_').toLowerCase()
}

/** Form decoding of a name or a value. `unclear`: encodes what needs no encoding, or `%` itself. */
function decodeForm(text: string): { text: string; unclear: boolean } | undefined {
  if (!text.includes('%')) return { text: text.replaceAll('+', ' '), unclear: false }
  const decoded = decodeOnce(text.replaceAll('+', ' '))
  if (decoded === undefined || decoded.control) return undefined
  return { text: decoded.text, unclear: decoded.problem !== undefined || decoded.encoded.includes('%') }
}

interface Decoded {
  readonly text: string
  /** The characters that were written as percent sequences. */
  readonly encoded: readonly string[]
  readonly control: boolean
  readonly problem: string | undefined
}

/** Decodes percent sequences once. Undefined: malformed or not UTF-8. */
function decodeOnce(text: string): Decoded | undefined {
  const encoded: string[] = []
  let decodedText: string
  try {
    decodedText = text.replace(/(?:%[0-9A-Fa-f]{2})+/g, (run) => {
      const decoded = decodeURIComponent(run)
      encoded.push(...decoded)
      return decoded
    })
    // What is left of a percent sign was not a sequence.
    if (/%(?![0-9A-Fa-f]{2})/.test(text)) return undefined
  } catch {
    return undefined
  }
  const control = encoded.some((char) => controls.test(char))
  const problem = control
    ? 'encodes a control character'
    : encoded.some((char) => unreserved.test(char))
      ? 'encodes a character that needs no encoding'
      : undefined
  return { text: decodedText, encoded, control, problem }
}

/** Decodes one raw path segment that `parseTarget` has accepted. */
export function decodeSegment(segment: string): string {
  return segment.includes('%') ? decodeURIComponent(segment) : segment
}
