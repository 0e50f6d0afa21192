// In: a URL from the configuration and bounds. Out: the body of its 200 answer, or why there is none.
// Never follows a redirect, never reads beyond its limit, never waits beyond its deadline, never throws.

export interface FetchBounds {
  readonly accept: string
  /** Bytes of the body after content decoding. */
  readonly maxBytes: number
  /** From the call to the last byte of the body. */
  readonly timeoutMs: number
}

/**
 * Whether keys may be fetched from `text`: https, or http on the loopback interface, without user or fragment.
 */
export function isKeyUrl(text: string): boolean {
  const url = URL.parse(text)
  if (url === null || url.username !== '' || url.password !== '' || url.hash !== '') return false
  return url.protocol === 'https:' || isLoopbackUrl(text)
}

/** Whether `text` is an http URL of this very machine, where nobody can listen in or answer instead. */
export function isLoopbackUrl(text: string): boolean {
  const url = URL.parse(text)
  return url?.protocol === 'http:' && /^(localhost|127\.[0-9.]+|\[::1\])$/.test(url.hostname)
}

/** How the lease code reaches the network. */
export type Fetch = (url: string, bounds: FetchBounds) => Promise<Uint8Array | undefined>

/** `Fetch` over the platform's HTTP client. */
export const fetchBounded: Fetch = async (url, bounds) => {
  const answer = await fetchChanged(url, bounds)
  return answer.type === 'fresh' ? answer.bytes : undefined
}

export interface ConditionalBounds extends FetchBounds {
  /** Of the content that is there already; absent: none is. */
  readonly etag?: string | undefined
  /** Sent beside `accept`. */
  readonly headers?: Readonly<Record<string, string>>
  /** Ends the call early, as `failed`. */
  readonly signal?: AbortSignal
}

/** What came of a conditional request (RFC 9110 §13). `reason` names neither the URL nor a header value. */
export type Answer =
  | { readonly type: 'fresh'; readonly bytes: Uint8Array; readonly etag: string | undefined }
  | { readonly type: 'unchanged' }
  | { readonly type: 'failed'; readonly reason: string }

/** Gets what is at `url` unless it still is what `etag` names. */
export async function fetchChanged(url: string, bounds: ConditionalBounds): Promise<Answer> {
  const { accept, maxBytes, timeoutMs, etag } = bounds
  const timeout = AbortSignal.timeout(timeoutMs)
  const signal = bounds.signal === undefined ? timeout : AbortSignal.any([timeout, bounds.signal])
  const headers = { ...bounds.headers, accept, ...(etag === undefined ? {} : { 'if-none-match': etag }) }
  try {
    // A redirect would let the answering host choose where keys or policy come from.
    const response = await fetch(url, { headers, redirect: 'manual', signal })
    if (response.status !== 200 || response.body === null) {
      await response.body?.cancel()
      if (response.status === 304 && etag !== undefined) return { type: 'unchanged' }
      return { type: 'failed', reason: `it answered ${response.status}` }
    }
    const bytes = await readBounded(response.body, maxBytes)
    if (bytes === undefined) return { type: 'failed', reason: `it sent more than ${maxBytes} bytes` }
    return { type: 'fresh', bytes, etag: response.headers.get('etag') ?? undefined }
  } catch (thrown) {
    const reason = timeout.aborted ? `no answer within ${timeoutMs} ms` : `no answer (${causeOf(thrown)})`
    return { type: 'failed', reason }
  }
}

/** The system's word for it (`ECONNREFUSED`), never a message: that may quote what was sent. */
export function causeOf(thrown: unknown): string {
  const cause = thrown instanceof Error ? thrown.cause : undefined
  const code = cause instanceof Error && 'code' in cause ? cause.code : undefined
  return typeof code === 'string' ? code : 'the connection failed'
}

async function readBounded(body: ReadableStream<Uint8Array>, maxBytes: number) {
  const chunks: Uint8Array[] = []
  let size = 0
  for await (const chunk of body) {
    size += chunk.byteLength
    // Leaving the loop cancels the stream and closes the connection.
    if (size > maxBytes) return undefined
    chunks.push(chunk)
  }
  return Buffer.concat(chunks)
}
