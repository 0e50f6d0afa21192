// In: a header name of the configuration. Out: its lower-case form, or why it may not stand there.
// Never: a header that frames the message, belongs to one hop, or that the gate itself answers for.
import type { Outcome } from './scalars.ts'

/** One hop only, or the framing and routing of the message itself (RFC 9110 §7.6.1, RFC 9112 §6). */
const connection = new Set([
  'connection',
  'content-length',
  'expect',
  'host',
  'keep-alive',
  'max-forwards',
  'proxy-authenticate',
  'proxy-connection',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
])
/** What the gate writes itself, so that a backend can believe it. */
const identity = /^(lease-.*|decision-id|traceparent|tracestate|via|forwarded|x-forwarded-.*|x-real-ip)$/
/** What a caller must never reach a backend with: credentials, and names that change what a request means. */
const caller =
  /^(authorization|proxy-authorization|dpop|cookie|txn-token|client-cert.*|x-original-.*|x-rewrite-url|x-http-method.*|x-method-.*)$/

/** Header that carries the backend's credential: any field but those of the connection and of the gate. */
export function parseCredentialHeader(text: string): Outcome<string> {
  const name = fieldName(text)
  if (name === undefined) return { fault: 'write a header name, such as authorization or x-api-key' }
  if (connection.has(name))
    return { fault: 'choose another header: this one frames the message or is hop-by-hop' }
  if (identity.test(name)) return { fault: 'choose another header: this one is written by the gate' }
  return { value: name }
}

/** Request header of callers that is passed on beside the built-in allow list. */
export function parseForwardHeader(text: string): Outcome<string> {
  const name = fieldName(text)
  if (name === undefined) return { fault: 'write a header name, such as x-request-id' }
  if (name.includes('_'))
    return { fault: 'remove it: servers read _ in a header name as -, so it is never passed on' }
  if (connection.has(name)) return { fault: 'remove it: this header frames the message or is hop-by-hop' }
  if (identity.test(name)) return { fault: 'remove it: this header is written by the gate, never by callers' }
  if (caller.test(name))
    return { fault: "remove it: a caller's credentials and overrides never reach a backend" }
  return { value: name }
}

/** RFC 9110 §5.1 `field-name`, in lower case. */
function fieldName(text: string): string | undefined {
  return /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/.test(text) ? text.toLowerCase() : undefined
}
