// Whether a body has to be read before the decision, and what may be believed of it. Pure: bytes in,
// a parsed value or a refusal out.
import { type Refusal, refuse } from '../refusals.ts'
import { parseStrictJson } from '../strict_json.ts'
import type { Authenticated, CleanRequest } from './stages.ts'
import { lenientName } from './target.ts'

/** Why a body is read whole before the decision; `no`: it streams through. */
export type Inspection = 'no' | 'json' | 'override'

/** A JSON body that policy reads, or a body in which a backend could find `_method`. */
export function inspectionOf({ request, mapped }: Authenticated): Inspection {
  if (!hasBody(request)) return 'no'
  const { body } = mapped.operation
  if (body === 'json') return 'json'
  const { pairs, parts, json } = readersOf(request)
  return body === 'stream' && (pairs || parts || json) ? 'override' : 'no'
}

export function hasBody({ chunked, contentLength = 0 }: CleanRequest): boolean {
  return chunked || contentLength > 0
}

/** Who could look for a field in a body. */
interface Readers {
  /** As `name=value&…`. */
  readonly pairs: boolean
  /** As the parts of a multipart body. */
  readonly parts: boolean
  readonly json: boolean
}

/**
 * As lenient backends choose: by a word anywhere in Content-Type, and any of them where there is no type.
 * From JSON they take a method for POST alone, so other methods stream it.
 */
function readersOf({ method, contentType = '' }: CleanRequest): Readers {
  const untyped = /^\s*(?:[;,]|$)/.test(contentType)
  return {
    pairs: untyped || /urlencoded/i.test(contentType),
    parts: /multipart/i.test(contentType),
    json: method === 'POST' && (untyped || /[/+](?:x-)?json/i.test(contentType)),
  }
}

/** Reads `bytes` as `inspection` asks: the JSON value for policy, undefined where policy sees none. */
export function readInspected(
  inspection: Inspection,
  bytes: Uint8Array,
  { request }: Authenticated,
): { readonly value: unknown } | Refusal {
  if (inspection === 'no') return { value: undefined }
  if (request.contentEncoding !== undefined && request.contentEncoding.toLowerCase() !== 'identity') {
    return refuse('malformed_request', { detail: 'a body that is inspected may not be encoded' })
  }
  return inspection === 'json' ? readJson(bytes, request.contentType) : readOverride(bytes, request)
}

function readJson(bytes: Uint8Array, contentType: string | undefined): { readonly value: unknown } | Refusal {
  if (!/^application\/json(?: *; *charset="?utf-8"?)?$/i.test(contentType ?? '')) {
    return refuse('malformed_request', { detail: 'this operation takes application/json only' })
  }
  const parsed = parseStrictJson(bytes, { maxBytes: bytes.byteLength, refuseCaseVariants: true })
  if (!parsed.ok) {
    return refuse('malformed_request', { detail: `the JSON body is not acceptable: ${parsed.problem}` })
  }
  return namesOverride(parsed.value)
    ? refuse('malformed_request', { detail: 'the JSON body overrides the method' })
    : { value: parsed.value }
}

// `charset=ibm037` spells `_method` in other bytes than those looked for.
const strangeCharset = /charset(?!\s*=\s*"?(?:utf-8|us-ascii|iso-8859-1)"?\s*(?:[;,]|$))/i

function readOverride(bytes: Uint8Array, request: CleanRequest): { readonly value: unknown } | Refusal {
  if (strangeCharset.test(request.contentType ?? '')) {
    return refuse('malformed_request', { detail: 'this body is read as UTF-8 only' })
  }
  const text = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('latin1')
  const { pairs, parts, json } = readersOf(request)
  return (pairs && pairsOverride(text)) || (parts && partsOverride(text)) || (json && jsonOverrides(text))
    ? refuse('malformed_request', { detail: 'the body overrides the method' })
    : { value: undefined }
}

/** The look before the exact reading keeps hundreds of thousands of other names cheap. */
function overridesMethod(name: string): boolean {
  return /method/i.test(name) && lenientName(name) === '_method'
}

/** Laravel merges the members of a JSON object into the form fields. */
function namesOverride(json: unknown): boolean {
  return typeof json === 'object' && json !== null && Object.keys(json).some(overridesMethod)
}

/**
 * `_method` in any spelling that some JSON reader knows: escaped, or continued on the next line. What may
 * stand between two letters cannot begin the word, so that the search stays linear.
 */
const spelledInJson = new RegExp([...'_method'].map(escapable).join('[^\\w"]*'), 'i')

function escapable(letter: string): string {
  const codes = [letter, letter.toUpperCase()].map((char) => char.charCodeAt(0).toString(16))
  return `(?:${letter}|(?:u00|x)(?:${codes.join('|')}))`
}

/**
 * What is JSON may hold the word anywhere but in a name of its outermost object. What is not (JSON5, UTF-16
 * with its NULs, lines of JSON) may not hold it at all: who knows where a lenient reader finds its names.
 */
function jsonOverrides(text: string): boolean {
  if (!spelledInJson.test(text.replaceAll('\0', ''))) return false
  try {
    return namesOverride(JSON.parse(text))
  } catch {
    return true
  }
}

/** Shorter names cannot spell `_method`, and are not even looked at. */
const pairNames = /(?:^|[&;\r\n])([^&;=\r\n]{7,})/g

function pairsOverride(text: string): boolean {
  for (const [, name] of text.matchAll(pairNames)) if (overridesMethod(decodeLeniently(name!))) return true
  return false
}

/** Percent sequences, `%u005f` and `+` decoded: what some reader takes for `_method` has to be found. */
function decodeLeniently(name: string): string {
  return name
    .replaceAll('+', ' ')
    .replace(/%(?:u([0-9a-f]{4})|([0-9a-f]{2}))/gi, (_, wide: string | undefined, byte: string) =>
      String.fromCharCode(Number.parseInt(wide ?? byte, 16)),
    )
}

const dispositions = /^[ \t]*content-disposition[ \t]*:(.*(?:(?:\r\n?|\n)[ \t].*)*)/gim

/**
 * Looks at the names of parts wherever a boundary could make a part begin. One that is written in a way that
 * RFC 7578 §4.2 does not know (`name*=`, `name*0=`, an encoded word), and some reader decodes, counts too.
 */
function partsOverride(text: string): boolean {
  for (const [, disposition] of text.matchAll(dispositions)) {
    const plain = disposition!.replaceAll('\\', '')
    if (/(?<![a-z])name\s*\*|=\?/i.test(plain)) return true
    for (const [, name] of plain.matchAll(/(?<![a-z])name\s*=\s*["']?([^"';]*)/gi)) {
      if (overridesMethod(decodeLeniently(name!))) return true
    }
  }
  return false
}
