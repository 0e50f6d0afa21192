// A stored call as a request head again. In: the call. Out: the head as the pipeline reads heads. Pure; nothing in it
// proves who sends it.
import type { RawHead } from '../enforce/stages.ts'
import type { HeldCall } from './actions.ts'

/** The head of a call as if it came over a socket. */
export function headOf({
  method,
  target,
  authority,
  headers,
  body,
  peer,
  provenance,
}: Omit<HeldCall, 'lease'>): RawHead {
  const rawHeaders = ['host', authority, ...headers, 'lease-provenance', provenance]
  if (body.byteLength > 0) rawHeaders.push('content-length', String(body.byteLength))
  return { method, target, httpVersion: '1.1', rawHeaders, peer }
}
