// The header section: raw list in, the facts every step relies on out. One pass over the list. Names are
// compared in lower case and `_` is never `-`: an underscore name is dropped, whatever it imitates.
import { isRefusal, type Refusal, refuse } from '../refusals.ts'
import type { CleanRequest, RawHead } from './stages.ts'

/** What the header section says, before authority and target are looked at. */
export type HeaderFacts = Pick<
  CleanRequest,
  | 'headers'
  | 'nominated'
  | 'authorization'
  | 'proofs'
  | 'contentType'
  | 'contentEncoding'
  | 'contentLength'
  | 'chunked'
  | 'expectsContinue'
  | 'provenance'
  | 'statedTask'
  | 'statedSession'
  | 'statedApproval'
  | 'waitSeconds'
  | 'traceparent'
  | 'maxForwards'
  | 'offersWebSocket'
> & { readonly host: string }

interface FieldRules {
  readonly headerBytes: number
  readonly headerFields: number
  readonly via: string
}

/** Fields that may stand once: a second one could be read by one parser and ignored by the next. */
const singletons = new Set([
  'authorization',
  'content-length',
  'content-type',
  'content-encoding',
  'expect',
  'host',
  'idempotency-key',
  'if-modified-since',
  'if-range',
  'if-unmodified-since',
  'lease-approval',
  'lease-provenance',
  'lease-session',
  'lease-task',
  'max-forwards',
  'range',
  'sec-websocket-key',
  'sec-websocket-version',
  'transfer-encoding',
  'upgrade',
])
const overrides = new Set(['x-http-method', 'x-http-method-override', 'x-method-override'])
const visible = /^[\t\x20-\x7e]*$/
// Version 00 ends after the flags; a later one may go on (W3C Trace Context §3.2.2).
const traceparentForm =
  /^(?!ff|00.{54})[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(?:-.*)?$/

/** Reads the header section of `head`. Checks in order: sizes, octets, duplicates, then each known field. */
export function readFields(head: RawHead, rules: FieldRules): HeaderFacts | Refusal {
  const raw = head.rawHeaders
  if (raw.length / 2 > rules.headerFields) {
    return refuse('headers_too_large', { detail: `more than ${rules.headerFields} header fields` })
  }
  const headers: string[] = []
  const single: Record<string, string> = Object.create(null)
  const connection: string[] = []
  const proofs: string[] = []
  let size = 0
  let viaSeen = 0
  let traceparent: string | undefined
  for (let at = 0; at < raw.length; at += 2) {
    const sent = raw[at]!
    const value = raw[at + 1]!
    size += sent.length + value.length + 4
    if (!visible.test(value)) {
      return refuse('malformed_request', { detail: 'a header value holds an octet outside visible ASCII' })
    }
    const name = sent.toLowerCase()
    if (singletons.has(name)) {
      if (single[name] !== undefined) return refuseRepeated(name)
      single[name] = value
    } else if (overrides.has(name)) {
      return refuse('malformed_request', { detail: 'a header overrides the method' })
    } else if (name === 'connection') {
      connection.push(...listItems(value.toLowerCase()))
    } else if (name === 'dpop') {
      proofs.push(value)
    } else if (name === 'via') {
      viaSeen += listItems(value).filter((hop) => hop.split(/\s+/)[1] === rules.via).length
    } else if (name === 'traceparent') {
      // Two of them are no better than an invalid one: the trace starts anew (W3C Trace Context §3.2).
      traceparent = traceparent === undefined ? value : ''
    }
    if (!name.includes('_')) headers.push(name, value)
  }
  if (size > rules.headerBytes) {
    return refuse('headers_too_large', {
      detail: `the header section is larger than ${rules.headerBytes} bytes`,
    })
  }
  if (viaSeen > 1) return refuse('loop_detected', { detail: 'Via names this gate twice' })
  return readKnown(head, { single, connection, proofs, headers, traceparent })
}

interface Scanned {
  readonly single: Readonly<Record<string, string>>
  readonly connection: readonly string[]
  readonly proofs: readonly string[]
  readonly headers: readonly string[]
  readonly traceparent: string | undefined
}

function readKnown(head: RawHead, scanned: Scanned): HeaderFacts | Refusal {
  const { single, connection, headers } = scanned
  const framing = readFraming(head, single['content-length'], single['transfer-encoding'])
  if (isRefusal(framing)) return framing
  const host = single.host
  if (host === undefined || host === '') return refuse('malformed_request', { detail: 'Host is missing' })
  const expect = single.expect
  if (expect !== undefined && expect.toLowerCase() !== '100-continue') {
    return refuse('expectation_failed', { detail: 'Expect holds something other than 100-continue' })
  }
  const provenance = single['lease-provenance']
  if (provenance !== undefined && provenance !== 'trusted' && provenance !== 'untrusted') {
    return refuse('malformed_request', { detail: 'Lease-Provenance is either trusted or untrusted' })
  }
  const { 'lease-task': statedTask, 'lease-session': statedSession } = single
  if (statedTask === '' || statedSession === '') {
    return refuse('malformed_request', {
      detail: 'Lease-Task and Lease-Session name something or are left out',
    })
  }
  const statedApproval = single['lease-approval']
  if (statedApproval !== undefined && !/^act_[0-9A-Z]{26}$/.test(statedApproval)) {
    return refuse('malformed_request', { detail: 'Lease-Approval names one action: act_…' })
  }
  const maxForwards = single['max-forwards']
  if (maxForwards !== undefined && !/^[0-9]{1,9}$/.test(maxForwards)) {
    return refuse('malformed_request', { detail: 'Max-Forwards is not a number' })
  }
  return {
    ...framing,
    host,
    headers,
    nominated: connection.filter((token) => token !== 'close' && token !== 'keep-alive'),
    authorization: single.authorization,
    proofs: scanned.proofs,
    contentType: single['content-type'],
    contentEncoding: single['content-encoding'],
    expectsContinue: expect !== undefined && head.httpVersion === '1.1',
    provenance: provenance ?? 'untrusted',
    statedTask,
    statedSession,
    statedApproval,
    waitSeconds: waitOf(headers),
    traceparent:
      scanned.traceparent !== undefined && traceparentForm.test(scanned.traceparent)
        ? scanned.traceparent
        : undefined,
    maxForwards: maxForwards === undefined || head.method !== 'OPTIONS' ? undefined : Number(maxForwards),
    offersWebSocket:
      single.upgrade?.toLowerCase() === 'websocket' &&
      connection.includes('upgrade') &&
      head.method === 'GET' &&
      head.httpVersion === '1.1' &&
      single['sec-websocket-version'] === '13' &&
      /^[A-Za-z0-9+/]{22}==$/.test(single['sec-websocket-key'] ?? ''),
  }
}

/** RFC 9112 §6: which of Content-Length and Transfer-Encoding frames the body, if one reading exists. */
function readFraming(
  head: RawHead,
  length: string | undefined,
  coding: string | undefined,
): Pick<HeaderFacts, 'contentLength' | 'chunked'> | Refusal {
  if (coding === undefined) {
    if (length === undefined) return { contentLength: undefined, chunked: false }
    if (!/^[0-9]{1,16}$/.test(length) || !Number.isSafeInteger(Number(length))) {
      return refuse('malformed_framing', { detail: 'Content-Length is not one plain number' })
    }
    return { contentLength: Number(length), chunked: false }
  }
  if (length !== undefined) {
    return refuse('malformed_framing', { detail: 'Content-Length and Transfer-Encoding stand together' })
  }
  if (head.httpVersion !== '1.1') {
    return refuse('malformed_framing', { detail: 'Transfer-Encoding needs HTTP/1.1' })
  }
  const codings = coding
    .toLowerCase()
    .split(',')
    .map((item) => item.trim())
  if (codings.pop() !== 'chunked' || codings.includes('chunked') || codings.includes('')) {
    return refuse('malformed_framing', { detail: 'the final transfer coding has to be chunked, once' })
  }
  if (codings.length > 0) return refuse('coding_unsupported', { detail: 'only chunked is understood' })
  return { contentLength: undefined, chunked: true }
}

function refuseRepeated(name: string): Refusal {
  const framing = name === 'content-length' || name === 'transfer-encoding'
  if (name === 'authorization')
    return refuse('credential_ambiguous', { detail: 'Authorization stands twice' })
  return refuse(framing ? 'malformed_framing' : 'malformed_request', {
    detail: `${name} stands more than once`,
  })
}

const nominationBans =
  /^(?:(?:proxy-)?authorization|dpop|cookie2?|x-api-key|x-auth-.*|host|content-.*|transfer-encoding|trailer|expect|max-forwards|(?:x-)?forwarded.*|x-real-ip|(?:x-|true-)?client-ip|x-original-.*|x-rewrite-.*|via|client-cert.*|txn-token|traceparent|tracestate|lease-.*|decision-id|idempotency-key)$/

/** Whether `Connection` may not nominate this field: dropping it would change who asks for what. */
export function isForbiddenNomination(name: string): boolean {
  return nominationBans.test(name)
}

function listItems(value: string): string[] {
  return value
    .split(',')
    .map((item) => item.trim())
    .filter((item) => item !== '')
}

/** `wait` of RFC 7240 §4.3; the first one counts, and what is no number is no preference (§2). */
function waitOf(headers: readonly string[]): number | undefined {
  for (let at = 0; at < headers.length; at += 2) {
    if (headers[at] !== 'prefer') continue
    const seconds = /(?:^|,)\s*wait\s*=\s*"?([0-9]{1,9})"?\s*(?:[,;]|$)/i.exec(headers[at + 1]!)?.[1]
    if (seconds !== undefined) return Number(seconds)
  }
  return undefined
}
