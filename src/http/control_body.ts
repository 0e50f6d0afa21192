// In: a request to the control listener. Out: its body as JSON or as a form, or the refusal. Never more than
// its bound, never two readings of one body.
import type { IncomingMessage } from 'node:http'
import type { Form } from '../broker/parties.ts'
import { isRefusal, type Refusal, refuse } from '../refusals.ts'
import { parseStrictJson } from '../strict_json.ts'

const maxJsonBytes = 16_384
/** Room for three tokens of 8 KiB and what is asked for. */
const maxFormBytes = 65_536
const maxTokenBytes = 8_192

/** A strict JSON body of type `application/json`. */
export async function readJson(req: IncomingMessage): Promise<unknown> {
  if (!/^application\/json\b/i.test(req.headers['content-type'] ?? '')) {
    return refuse('malformed_request', { detail: 'send application/json' })
  }
  const bytes = await readBody(req, maxJsonBytes)
  if (isRefusal(bytes)) return bytes
  const parsed = parseStrictJson(bytes, { maxBytes: maxJsonBytes })
  return parsed.ok
    ? parsed.value
    : refuse('malformed_request', { detail: `not acceptable JSON: ${parsed.problem}` })
}

/**
 * A form (RFC 6749 §3.2). Refuses with `invalid_request` another content type, a name that stands twice, bytes
 * that are not UTF-8; a parameter without a value counts as left out.
 */
export async function readForm(req: IncomingMessage): Promise<Form | Refusal> {
  const type = req.headers['content-type'] ?? ''
  if (!/^application\/x-www-form-urlencoded(?:\s*;\s*charset=utf-8)?$/i.test(type)) {
    return refuse('invalid_request', { detail: 'send application/x-www-form-urlencoded' })
  }
  const bytes = await readBody(req, maxFormBytes)
  if (isRefusal(bytes)) return bytes
  return parseForm(bytes.toString('latin1'))
}

/** May stand several times in RFC 8693 §2.1 and RFC 8707 §2; a lease is for one. */
const targets: ReadonlySet<string> = new Set(['resource', 'audience'])

/** The form in its encoded text. */
export function parseForm(text: string): Form | Refusal {
  const form = new Map<string, string>()
  const seen = new Set<string>()
  for (const pair of text.split('&')) {
    if (pair === '') continue
    const at = pair.indexOf('=')
    const name = decode(at < 0 ? pair : pair.slice(0, at))
    const value = decode(at < 0 ? '' : pair.slice(at + 1))
    if (name === undefined || value === undefined) {
      return refuse('invalid_request', { detail: 'a form parameter is not percent-encoded UTF-8' })
    }
    if (seen.has(name)) {
      const code = targets.has(name) ? 'invalid_target' : 'invalid_request'
      return refuse(code, { detail: 'a form parameter stands twice' })
    }
    seen.add(name)
    if (value !== '') form.set(name, value)
  }
  return form
}

function decode(text: string): string | undefined {
  if (!/^[\x21-\x7e]*$/.test(text)) return undefined
  try {
    return decodeURIComponent(text.replaceAll('+', ' '))
  } catch {
    return undefined
  }
}

/** A security event token, alone in the body (RFC 8935 §2.1). */
export async function readToken(req: IncomingMessage): Promise<string | Refusal> {
  if (!/^application\/secevent\+jwt$/i.test(req.headers['content-type'] ?? '')) {
    return refuse('invalid_request', { detail: 'send application/secevent+jwt' })
  }
  const bytes = await readBody(req, maxTokenBytes)
  return isRefusal(bytes) ? bytes : bytes.toString('latin1')
}

async function readBody(req: IncomingMessage, limit: number): Promise<Buffer | Refusal> {
  const chunks: Buffer[] = []
  let size = 0
  try {
    // Left in the middle, it stays open: there is an answer to send.
    for await (const chunk of req.iterator({ destroyOnReturn: false })) {
      size += chunk.length
      if (size > limit) return refuse('body_too_large', { detail: `at most ${limit} bytes` })
      chunks.push(chunk)
    }
  } catch (error) {
    // Whoever hangs up in the middle is no bug of ours; nobody is there to read the answer.
    if (!req.destroyed) throw error
    return refuse('invalid_request', { detail: 'the body ended before its time' })
  }
  return Buffer.concat(chunks)
}
