// Whether a body has to be read before the decision, and what may be believed of it. Pure: bytes in,
// a parsed value or a refusal out.
import { type Refusal, refuse } from '../refusals.ts'
import { parseStrictJson } from '../strict_json.ts'
import type { Authenticated } from './stages.ts'
import { lenientName } from './target.ts'

/** Why a body is read whole before the decision; `no`: it streams through. */
export type Inspection = 'no' | 'json' | 'form' | 'fingerprint'

/**
 * A JSON body that policy reads, a form (it could hold `_method`), or the body of a high-risk call, which
 * an approval is bound to. A body without a media type counts as a form, because some backends read it so.
 */
export function inspectionOf({ request, mapped }: Authenticated): Inspection {
  if (!request.chunked && (request.contentLength ?? 0) === 0) return 'no'
  const { body, risk } = mapped.operation
  if (body === 'json') return 'json'
  if (body === 'stream' && isForm(request.contentType)) return 'form'
  return risk === 'high' ? 'fingerprint' : 'no'
}

/** As lenient readers see it: PHP ends the type at a comma or a space, Rack takes any multipart for a form. */
function isForm(contentType: string | undefined): boolean {
  const type = (contentType ?? '').split(/[;,\s]/, 1)[0]!.toLowerCase()
  return type === '' || type === 'application/x-www-form-urlencoded' || type.startsWith('multipart/')
}

/** Reads `bytes` as `inspection` asks: the JSON value for policy, undefined where policy sees none. */
export function readInspected(
  inspection: Inspection,
  bytes: Uint8Array,
  { request }: Authenticated,
): { readonly value: unknown } | Refusal {
  if (inspection === 'no' || inspection === 'fingerprint') return { value: undefined }
  if (request.contentEncoding !== undefined && request.contentEncoding.toLowerCase() !== 'identity') {
    return refuse('malformed_request', { detail: 'a body that is inspected may not be encoded' })
  }
  return inspection === 'json' ? readJson(bytes, request.contentType) : readForm(bytes, request.contentType)
}

function readJson(bytes: Uint8Array, contentType: string | undefined): { readonly value: unknown } | Refusal {
  if (!/^application\/json(?: *; *charset="?utf-8"?)?$/i.test(contentType ?? '')) {
    return refuse('malformed_request', { detail: 'this operation takes application/json only' })
  }
  const parsed = parseStrictJson(bytes, { maxBytes: bytes.byteLength, refuseCaseVariants: true })
  if (!parsed.ok) {
    return refuse('malformed_request', { detail: `the JSON body is not acceptable: ${parsed.problem}` })
  }
  // Laravel merges a JSON body into the form fields.
  const { value } = parsed
  return typeof value === 'object' && value !== null && Object.keys(value).some(overridesMethod)
    ? refuse('malformed_request', { detail: 'the JSON body overrides the method' })
    : { value }
}

// `charset=ibm037` spells `_method` in other bytes than those looked for.
const strangeCharset = /charset(?!\s*=\s*"?(?:utf-8|us-ascii|iso-8859-1)"?\s*(?:[;,]|$))/i

function readForm(bytes: Uint8Array, contentType = ''): { readonly value: unknown } | Refusal {
  if (strangeCharset.test(contentType)) {
    return refuse('malformed_request', { detail: 'a form is read as UTF-8 only' })
  }
  const text = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('latin1')
  const names = contentType.toLowerCase().includes('multipart/') ? partNames(text) : pairNames(text)
  return names === undefined || names.some(overridesMethod)
    ? refuse('malformed_request', { detail: 'the form overrides the method' })
    : { value: undefined }
}

function overridesMethod(name: string): boolean {
  return lenientName(name) === '_method'
}

function pairNames(text: string): string[] {
  return text.split(/[&;\r\n]/).map((pair) => decodeLeniently(pair.split('=', 1)[0]!))
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
 * Names of the parts, wherever a boundary could make a part begin. Undefined: one is written in a way that
 * RFC 7578 §4.2 does not know (`name*=`, `name*0=`, an encoded word) and some reader decodes.
 */
function partNames(text: string): string[] | undefined {
  const names: string[] = []
  for (const [, disposition] of text.matchAll(dispositions)) {
    const plain = disposition!.replaceAll('\\', '')
    if (/(?<![a-z])name\s*\*|=\?/i.test(plain)) return undefined
    for (const [, name] of plain.matchAll(/(?<![a-z])name\s*=\s*["']?([^"';]*)/gi)) {
      names.push(decodeLeniently(name!))
    }
  }
  return names
}
