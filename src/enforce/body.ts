// Whether a body has to be read before the decision, and what may be believed of it. Pure: bytes in,
// a parsed value or a refusal out.
import { type Refusal, refuse } from '../refusals.ts'
import { parseStrictJson } from '../strict_json.ts'
import type { Authenticated } from './stages.ts'

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

function isForm(contentType: string | undefined): boolean {
  if (contentType === undefined) return true
  const type = contentType.split(';')[0]!.trim().toLowerCase()
  return type === 'application/x-www-form-urlencoded' || type === 'multipart/form-data'
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
  return parsed.ok
    ? { value: parsed.value }
    : refuse('malformed_request', { detail: `the JSON body is not acceptable: ${parsed.problem}` })
}

const methodPart = /name\*?\s*=\s*"?(?:utf-8'[^']*')?_method/i

function readForm(bytes: Uint8Array, contentType: string | undefined): { readonly value: unknown } | Refusal {
  const text = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('latin1')
  const multipart = contentType?.toLowerCase().includes('multipart/') ?? false
  const overrides = multipart
    ? methodPart.test(text)
    : text.split(/[&;]/).some((pair) => formName(pair) === '_method')
  return overrides
    ? refuse('malformed_request', { detail: 'the form overrides the method' })
    : { value: undefined }
}

function formName(pair: string): string {
  const name = pair.split('=')[0]!.trim()
  // Lenient on purpose: a name that some decoder would read as `_method` has to be found.
  return name
    .replace(/%([0-9a-f]{2})/gi, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)))
    .toLowerCase()
}
