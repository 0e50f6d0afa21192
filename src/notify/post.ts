// In: a message for one place. Out: what that place said to it. Never follows a redirect, never reads the body of an
// answer, never waits beyond its time, never throws.
import { causeOf } from '../lease/fetch.ts'
import { version } from '../version.ts'

/** `gone`: the place wants nothing any more. A `reason` names neither the URL nor what was sent. */
export type Posted = 'sent' | 'gone' | { readonly reason: string }

export interface Message {
  readonly url: string
  readonly headers: Readonly<Record<string, string>>
  readonly body: string
}

/** Posts JSON. Any 2xx is a yes; 410 is the end (Standard Webhooks). */
export async function post(
  { url, headers, body }: Message,
  { timeoutMs, stop }: { readonly timeoutMs: number; readonly stop: AbortSignal },
): Promise<Posted> {
  const timeout = AbortSignal.timeout(timeoutMs)
  try {
    const response = await fetch(url, {
      method: 'POST',
      headers: { 'content-type': 'application/json', 'user-agent': `leasegate/${version}`, ...headers },
      body,
      // Whoever answers must not choose who else is told.
      redirect: 'manual',
      signal: AbortSignal.any([timeout, stop]),
    })
    // The status says it all: what a place writes beside it is neither needed nor bounded.
    await response.body?.cancel().catch(() => {})
    if (response.ok) return 'sent'
    return response.status === 410 ? 'gone' : { reason: `it answered ${response.status}` }
  } catch (thrown) {
    if (timeout.aborted) return { reason: `no answer within ${timeoutMs} ms` }
    return { reason: `no answer (${causeOf(thrown)})` }
  }
}
